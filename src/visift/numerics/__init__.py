"""What two methods share, arrays in and out: no files, no torch."""
