"""Adapters: who consumes the batches. They translate to a framework's conventions and decide nothing."""
