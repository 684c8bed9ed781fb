"""Files that hold many samples each: where those lie, and how they are read."""
