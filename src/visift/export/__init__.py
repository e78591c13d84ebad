"""One file a trainer, and the proof of what was written."""
