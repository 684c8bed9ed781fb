"""Samples of several arrays: a reader's spec may be a structure, and so are its batches then."""

import numpy as np
import pytest
from scenes import BOXES, IMAGES, SIZES, N, Scenes

import headrace as hr
from headrace.pytree import leaves, map_leaves
from headrace.readers.reader import check_read, sample_nbytes


def same(batch, indices):
    return (
        np.array_equal(batch["image"], IMAGES[indices])
        and np.array_equal(batch["truth"][0], BOXES[indices])
        and np.array_equal(batch["truth"][1], SIZES[indices])
    )


def test_helpers_visit_every_spec_in_order():
    assert [spec.shape for spec in leaves(Scenes.spec)] == [(2, 3), (4,), ()]
    assert sample_nbytes(Scenes.spec) == 6 + 16 + 8
    doubled = map_leaves(lambda spec, number: (spec.shape, number), Scenes.spec,
                        {"image": 1, "truth": (2, 3)})  # fmt: skip
    assert doubled == {"image": ((2, 3), 1), "truth": (((4,), 2), ((), 3))}


@pytest.mark.parametrize(
    "executor", [hr.Inline(), hr.Threads(2), hr.Processes(1)], ids=lambda e: type(e).__name__
)
def test_a_batch_has_the_structure_of_the_samples(executor):
    with hr.Loader((Scenes(), SIZES), batch_size=5, seed=3, tail="partial",
                   executor=executor) as loader:  # fmt: skip
        taken = list(loader)
        assert [len(labels) for _, labels in taken] == [5, 5, 2]
        for scene, labels in taken:
            assert same(scene, labels)
        assert sorted(np.concatenate([labels for _, labels in taken])) == list(range(N))


def test_a_transform_of_one_sample_gets_its_structure():
    def area(scene, rng):
        return {"area": scene["image"].sum(), "size": scene["truth"][1]}

    loader = hr.Loader(Scenes(), batch_size=4, shuffle=False, transform=hr.per_sample(area))
    batch = loader.batch(0, 1)
    assert batch["size"].tolist() == [4, 5, 6, 7]
    assert batch["area"].tolist() == IMAGES[4:8].sum(axis=(1, 2)).tolist()


def test_a_state_names_the_structure():
    class Renamed(Scenes):
        spec = {"picture": Scenes.spec["image"], "truth": Scenes.spec["truth"]}

    Renamed.__name__ = "Scenes"
    state = hr.Loader(Scenes(), batch_size=4).state_dict()
    with pytest.raises(hr.StateError, match="'data'"):
        hr.Loader(Renamed(), batch_size=4).load_state_dict(state)


def empty(spec, n):
    return np.empty((n, *spec.shape), spec.dtype)


def test_an_out_that_does_not_fit_is_named_by_its_place():
    indices = np.arange(2)
    good = map_leaves(lambda spec: empty(spec, 2), Scenes.spec)
    wrong = {
        "out must be a dict": good["image"],
        r"out must be a dict of arrays for 'image', 'truth'": {"image": good["image"]},
        r"out\['truth'\] must be a tuple of 2": good | {"truth": good["truth"][:1]},
        r"out\['truth'\]\[1\] must be a C-contiguous array of shape \(2,\)": good
        | {"truth": (good["truth"][0], np.empty(3, np.int64))},
        r"out\['image'\] must be .* but a list": good | {"image": [1, 2]},
    }
    for message, out in wrong.items():
        with (
            pytest.raises(ValueError, match=message)
            if "list" not in message
            else pytest.raises(TypeError, match=message)
        ):
            check_read(N, Scenes.spec, indices, out)
    with pytest.raises(IndexError):
        check_read(N, Scenes.spec, np.array([0, N]), good)


@pytest.mark.parametrize("spec", [{}, (), {"x": None}, "float32", [hr.Spec((), np.dtype("f4"))]])
def test_a_reader_with_something_else_for_a_spec_is_refused(spec):
    class Wrong(Scenes):
        pass

    Wrong.spec = spec
    with pytest.raises(TypeError, match=r"source\[0\]\.spec must be"):
        hr.Loader((Wrong(), SIZES), batch_size=2)
