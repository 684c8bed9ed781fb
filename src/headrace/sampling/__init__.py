"""Sampling: (epoch, step) -> the sample indices of a batch."""
