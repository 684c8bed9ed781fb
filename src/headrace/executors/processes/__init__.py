"""Batches made by worker processes."""
