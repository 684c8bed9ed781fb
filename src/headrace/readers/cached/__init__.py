"""Samples that were read once, kept in memory or in a folder."""
