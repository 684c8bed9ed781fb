"""Batches of samples of like length."""
