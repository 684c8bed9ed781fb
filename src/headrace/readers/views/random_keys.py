"""Random numbers that never change: raw bits of PCG64; numpy may change its shuffles."""

import hashlib

import numpy as np

from headrace.arrays import Array


def random_keys(n: int, purpose: str, seed: int) -> Array:
    """A random number for each of n: uint64.

    Args:
        purpose: what they are for, as each purpose has numbers of its own.
    """
    # Not the seed itself, from which a loader's streams are drawn.
    own = hashlib.blake2b(f"{purpose} {seed}".encode(), digest_size=16).digest()
    keys: Array = np.random.PCG64(int.from_bytes(own, "little")).random_raw(n)
    return keys
