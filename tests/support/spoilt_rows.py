"""A reader some of whose samples can't be read, which processes import by name."""

import headrace as hr


class Recorded:
    """Rows of an array; those of `bad` can't be read, for the reason given."""

    def __init__(self, array, bad, error=hr.SampleFormatError, in_memory=False):
        self.array, self.bad, self.error, self.in_memory = array, set(bad), error, in_memory
        self.spec = hr.Spec(array.shape[1:], array.dtype)
        self.calls = []

    def __len__(self):
        return len(self.array)

    def read(self, indices, out):
        self.calls.append(indices.tolist())
        for index in reversed(indices.tolist()):  # as a reader may, in another order
            if index in self.bad:
                raise self.error.at(index, f"sample {index} is spoilt")
        out[:] = self.array[indices]
