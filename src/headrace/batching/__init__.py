"""Batching: a key -> a batch, and the feed of batches that loaders and adapters take from."""
