"""Files that are numbered as those of several splits, which must not become one set of samples."""

import re
from collections import Counter

from headrace.errors import ArgumentError

# As datasets and TensorFlow Datasets call the files of a split:
# "train-00000-of-00002-0123456789abcdef.parquet", "mnist-train.tfrecord-00000-of-00002".
_OF_SPLIT = re.compile(r"(?:.*/)?(.+?)-\d{5}-of-\d{5}(?:-[0-9a-f]{16})?(?:\.\w+)?\Z")


def refuse_splits(root: str, chosen: list[str], argument: str) -> None:
    """Raises an ArgumentError if the files are numbered as those of several splits.

    Args:
        argument: of the reader, which takes names of files.
    """
    found = [match[1] for match in map(_OF_SPLIT.match, chosen) if match]
    counts = Counter(found)
    if len(counts) > 1:
        listed = ", ".join(f"{name!r} ({count})" for name, count in sorted(counts.items()))
        raise ArgumentError(
            f"root must have the files of one split, but {root!r} has some of several: {listed}. "
            f"Pass those of one as {argument}, such as {argument}=[{chosen[-1]!r}]."
        )
