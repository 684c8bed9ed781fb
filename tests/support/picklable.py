"""Functions that a spawned process can import."""

from headrace.pytree import map_leaves


def noisy(sample, rng):
    """A sample (x, label) with noise on x."""
    x, label = sample
    return x + rng.normal(size=x.shape).astype("float32"), label


def noisy_x(sample, rng):
    """A sample {"x": x, ...} with noise on x."""
    return {**sample, "x": sample["x"] + rng.normal(size=sample["x"].shape).astype("float32")}


def shifted(batch, rng):
    """A batch to whose arrays random numbers were added."""
    return map_leaves(lambda array: array + rng.integers(1000), batch)


def as_dict(batch):
    """The arrays of a batch (number, label) by name."""
    return {"number": batch[0], "label": batch[1]}
