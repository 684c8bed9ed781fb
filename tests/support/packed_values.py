"""A reader of the values of packed rows alone, for the contract of readers of one array."""

import numpy as np

from headrace.readers.reader import check_read


class Values:
    def __init__(self, packed):
        self.packed, self.spec = packed, packed.spec["values"]
        self.access = packed.access

    def __len__(self):
        return len(self.packed)

    def fingerprint(self):
        return self.packed.fingerprint()

    def read(self, indices, out):
        check_read(len(self), self.spec, indices, out)
        ids = np.empty((2, len(indices), self.packed.spec["positions"].shape[0]), np.int32)
        self.packed.read(indices, {"values": out, "segment_ids": ids[0], "positions": ids[1]})
