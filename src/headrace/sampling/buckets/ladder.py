"""Ladders: the few lengths that samples of any length are padded to."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from headrace.arguments import MAX_SAMPLES, check_int
from headrace.errors import bad_type, bad_value

_MOST_RUNGS = 2**15


def check_ladder(ladder: Sequence[int]) -> list[int]:
    """The rungs of a ladder of lengths, which must ascend."""
    if isinstance(ladder, str | bytes) or not isinstance(ladder, Sequence | np.ndarray):
        raise bad_type("ladder", ladder, "a list of ints, the lengths to pad to")
    rungs = [check_int(f"ladder[{at}]", rung, 1, MAX_SAMPLES) for at, rung in enumerate(ladder)]
    if not rungs or len(rungs) > _MOST_RUNGS or any(a >= b for a, b in pairwise(rungs)):
        raise bad_value("ladder", ladder, f"ascending, of 1 to {_MOST_RUNGS} lengths")
    return rungs
