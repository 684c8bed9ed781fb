"""Crops of pictures, for transforms: the part that is taken, and its pixels."""
