"""Fingerprints: short hashes of what names samples or an order, for the states of loaders."""

import hashlib


def fingerprint(*parts: str | bytes | memoryview) -> str:
    """A hash of the parts, one after the other; of text, its UTF-8."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()
