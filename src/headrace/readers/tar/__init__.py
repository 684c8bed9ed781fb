"""Tar shards, as WebDataset writes them."""
