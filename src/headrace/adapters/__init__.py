"""Adapters: who consumes the batches. They translate for a framework, and decide nothing."""
