"""Files of any kind, decoded by a function."""
