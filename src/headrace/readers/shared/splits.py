"""Files that are numbered, as "train-00000-of-00002.parquet": of one split, and all there."""

import os
import re
from collections import Counter

from headrace.errors import ArgumentError
from headrace.storage.passed_over import MissingFilesWarning, warn_passed_over

# As datasets and TensorFlow Datasets call the files of a split:
# "train-00000-of-00002-0123456789abcdef.parquet", "mnist-train.tfrecord-00000-of-00002".
_NUMBERED = re.compile(r"(.*/)?(.+?)-(\d{5})-of-(\d{5})(?:-[0-9a-f]{16})?(?:\.\w+)?\Z")


def check_numbered(root: str, chosen: list[str], argument: str) -> None:
    """Refuses files that are numbered as those of several splits, and warns of what is not there.

    Args:
        argument: of the reader, which takes names of files.

    Raises:
        ArgumentError: they are of several splits, which must not become one set of samples.
    """
    found = [match for match in map(_NUMBERED.match, chosen) if match]
    counts = Counter(match[2] for match in found)
    if len(counts) > 1:
        listed = ", ".join(f"{name!r} ({count})" for name, count in sorted(counts.items()))
        raise ArgumentError(
            f"root must have the files of one split, but {root!r} has some of several: {listed}. "
            f"Pass those of one as {argument}, such as {argument}=[{chosen[-1]!r}]."
        )
    there: dict[tuple[str, str], set[int]] = {}
    for match in found:
        there.setdefault((match[1] or "", match[4]), set()).add(int(match[3]))
    for (folder, total), numbers in there.items():
        missing = sorted(set(range(int(total))) - numbers)
        if missing:
            warn_passed_over(
                f"{os.path.join(root, folder)!r} has {len(numbers)} of the {int(total)} files that "
                f"their names tell of: {missing[0]:05}-of-{total} is not there. What is to be read "
                f"all the same is named with {argument}=.",
                MissingFilesWarning,
            )
