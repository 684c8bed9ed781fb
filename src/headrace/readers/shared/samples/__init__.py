"""Samples: what they are, what makes them, and how they get into a batch."""
