"""Records, images and labels, read from the formats users have."""
