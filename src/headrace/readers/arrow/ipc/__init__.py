"""Arrow's own file format, memory-mapped."""
