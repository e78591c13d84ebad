"""One command, three benchmarks: time, peak memory and an equality figure beside a reference."""
