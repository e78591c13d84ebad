"""One command: time, peak memory and an equality figure beside a reference, and how both grow."""
