"""The closed loop: train on what was chosen and on matched controls, ask, say who is better."""
