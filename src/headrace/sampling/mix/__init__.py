"""Mixtures: samples of several sources, by shares that may change."""
