"""Samples of Python, by index, in files or lines, whose parts differ in the length of an axis."""

import json
from functools import partial

import numpy as np
import pytest
from datasets_by_number import Columns, Of

import headrace as hr
from headrace.readers.reader import read_batch
from headrace.testing import RaggedReaderContract


class TestContractOfGetItem(RaggedReaderContract):
    dtypes = ("int32", "float16")
    elements = ((), (2, 1))
    knows_lengths = False

    def make_reader(self, folder, samples):
        return hr.GetItem(samples, ragged=True)


def listed(folder, samples):
    return partial(hr.GetItem, samples)


def dataset(folder, samples):
    return partial(hr.GetItem, Of(*samples))


def columns(folder, samples):
    return partial(hr.GetItem, Columns(**{key: [s[key] for s in samples] for key in samples[0]}))


def files(folder, samples):
    for index, sample in enumerate(samples):
        (folder / f"{index}.json").write_text(json.dumps(sample))
    return partial(hr.Files, folder, json.loads, suffixes=".json")


def lines(folder, samples):
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, samples)))
    return partial(hr.JsonLines, folder)


KINDS = pytest.mark.parametrize("kind", [listed, dataset, columns, files, lines])
BOXES = [[[i, i]] * i for i in range(1, 5)]


def samples_of(boxes):
    return [{"boxes": each, "label": label} for label, each in enumerate(boxes)]


@KINDS
@pytest.mark.parametrize("how", ["learned", "some", "spec"])
def test_parts_of_any_length_come_with_others(tmp_path, kind, how):
    spec = {"boxes": hr.Spec((None, 2), "float32"), "label": hr.Spec((), "int64")}
    options = {
        "learned": {"ragged": True},
        "some": {"ragged": {"boxes": True, "label": False}},
        "spec": {"spec": spec},
    }[how]
    reader = kind(tmp_path, samples_of(BOXES))(**options)
    assert reader.spec["boxes"].shape == (None, 2)
    assert reader.spec["label"].shape == ()
    batch = hr.Loader(reader, 4, shuffle=False).batch(0, 0)
    assert [boxes.tolist() for boxes in batch["boxes"]] == BOXES
    assert batch["boxes"].dtype == (np.float32 if how == "spec" else np.int64)
    assert batch["label"].tolist() == [0, 1, 2, 3]
    # Those that happen to be equally long, too.
    assert read_batch(reader, np.array([2, 2]))["boxes"].lengths.tolist() == [3, 3]


@KINDS
def test_an_empty_list_is_of_the_spec(tmp_path, kind):
    spec = {"boxes": hr.Spec((None, 2), "float32")}
    reader = kind(tmp_path, samples_of([*BOXES[:2], []]))(spec=spec)
    batch = read_batch(reader, np.arange(3))["boxes"]
    assert [boxes.shape for boxes in batch] == [(1, 2), (2, 2), (0, 2)]


@KINDS
def test_without_ragged_the_error_names_it(tmp_path, kind):
    reader = kind(tmp_path, samples_of(BOXES))()
    with pytest.raises(hr.SampleFormatError, match=r"sample 1.*\['boxes'\].*pass ragged=True"):
        read_batch(reader, np.arange(2))


@KINDS
def test_a_sample_of_another_element_is_named(tmp_path, kind):
    reader = kind(tmp_path, samples_of([*BOXES[:2], [[1, 2, 3]]]))(ragged=True)
    with pytest.raises(hr.SampleFormatError, match=r"sample 2.*\['boxes'\].*\(1, 3\)") as caught:
        read_batch(reader, np.arange(3))
    assert caught.value.index == 2


def test_an_empty_array_of_objects_is_an_empty_list():
    # It is what `datasets` gives in numpy's format of a list without lists.
    none = np.array([], object)
    reader = hr.GetItem([np.ones((2, 3)), none, np.ones((1, 3))], ragged=True)
    batch = read_batch(reader, np.array([1, 2, 1]))
    assert (batch.lengths.tolist(), batch.shape) == ([0, 1, 0], (3, None, 3))
    with pytest.raises(hr.ArgumentTypeError, match="sample 0 is an empty list"):
        hr.GetItem([none, np.ones((2, 3))], ragged=True)
    with pytest.raises(hr.SampleFormatError, match="sample 0 can't become an array of numbers"):
        read_batch(hr.GetItem([none], spec=hr.Spec((0,), "int64")), np.arange(1))


def test_boxes_of_hugging_face(tmp_path):
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    boxes = [[[1.0, 2.0]] * n for n in (2, 0, 1, 0)]
    dataset = datasets.Dataset.from_dict({"boxes": boxes, "label": [0, 1, 2, 3]}).with_format(
        "numpy"
    )
    reader = hr.GetItem(dataset, ragged=["boxes"])
    for size in (1, 2, 4):
        found = [
            each for batch in hr.Loader(reader, size, shuffle=False) for each in batch["boxes"]
        ]
        assert [each.tolist() for each in found] == boxes


def test_ragged_names_parts_and_is_told_once():
    named = hr.GetItem(samples_of(BOXES), ragged=["boxes"])
    assert (named.spec["boxes"].ragged, named.spec["label"].ragged) == (True, False)
    with pytest.raises(hr.ArgumentError, match="left out with spec="):
        hr.GetItem([[1]], spec=hr.Spec((None,), "int64"), ragged=True)
    for wrong in (1, [], [True], {"x": 1}):
        with pytest.raises(hr.ArgumentTypeError, match="ragged must be a bool"):
            hr.GetItem([{"x": [1]}], ragged=wrong)
    for sample, said in (
        ([1], "is no dict"),
        (([1], 2), "is no dict"),
        ({"y": [1]}, "among 'y'"),
        ({"x": 1}, "a key of an array; .*'x'.* is one number"),
    ):
        with pytest.raises(hr.ArgumentError, match=said):
            hr.GetItem([sample], ragged=["x"])
