"""What can be measured per record or per image."""
