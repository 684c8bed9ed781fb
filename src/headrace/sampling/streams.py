"""The numbers of all random streams that come from one seed, so that no two are the same.

Each is the first part of a `numpy.random.SeedSequence`'s spawn key. They are part of what a seed
means: a number that has been used stays with its stream for ever.
"""

ORDER = 0
TRANSFORM = 1
BLOCKS = 2
SHORT_BLOCK = 3
WINDOWS = 4
SUBSTITUTES = 5
WEIGHTED_DRAWS = 8
WEIGHTED_ORDER = 9
BALANCED_CLASSES = 10
BALANCED_BLOCKS = 11
BALANCED_SAMPLES = 12
MIX_SAMPLES = 13
MIX_SOURCE = 14
