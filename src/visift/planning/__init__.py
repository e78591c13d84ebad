"""What a selection would cost before anything is measured, and what it would save."""
