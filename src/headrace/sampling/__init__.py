"""Sampling: (epoch, step) -> the samples of a batch.

An `Order` says which sample stands at each position of an epoch; a `Sampling` is what a user asks
for, and makes an order for so many samples; the `BatchSampler` deals an order out to steps and
ranks.
"""
