"""What was fetched once, kept on the disk."""
