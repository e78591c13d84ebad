"""Fine-tuning as a step that is asked for, made once, and found again."""
