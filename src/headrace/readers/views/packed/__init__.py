"""Rows of fixed length that hold several samples of any length, and the masks that part them."""
