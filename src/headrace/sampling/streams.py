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
WEIGHTED_DRAWS = 6
WEIGHTED_ORDER = 7
BALANCED_CLASSES = 8
BALANCED_BLOCKS = 9
BALANCED_SAMPLES = 10
MIX_SAMPLES = 11
MIX_SOURCE = 12
BUCKET_SAMPLES = 13
BUCKET_STEPS = 14
