"""GetItem of samples that differ in the length of their first axis."""

import numpy as np
import pytest
from datasets_by_number import Columns, Of

import headrace as hr
from headrace.readers.reader import read_batch
from headrace.testing import RaggedReaderContract


class TestContract(RaggedReaderContract):
    dtypes = ("int32", "float16")
    elements = ((), (2, 1))
    knows_lengths = False

    def make_reader(self, folder, samples):
        return hr.GetItem(samples, ragged=True)


BOXES = [[[i, i]] * i for i in range(1, 5)]
LABELS = list(range(4))


def one_by_one(boxes):
    return [{"boxes": np.array(each), "label": i} for i, each in enumerate(boxes)]


@pytest.mark.parametrize(
    "dataset",
    [one_by_one(BOXES), Of(*one_by_one(BOXES)), Columns(boxes=BOXES, label=LABELS)],
    ids=["list", "dataset", "columns"],
)
@pytest.mark.parametrize("how", ["learned", "some", "named", "spec"])
def test_parts_of_any_length_come_with_others(dataset, how):
    spec = {"boxes": hr.Spec((None, 2), "float32"), "label": hr.Spec((), "int64")}
    options = {
        "learned": {"ragged": True},
        "named": {"ragged": ["boxes"]},
        "some": {"ragged": {"boxes": True, "label": False}},
        "spec": {"spec": spec},
    }[how]
    reader = hr.GetItem(dataset, **options)
    assert reader.spec["boxes"].shape == (None, 2)
    assert reader.spec["label"].shape == ()
    batch = hr.Loader(reader, 4, shuffle=False).batch(0, 0)
    assert [boxes.tolist() for boxes in batch["boxes"]] == BOXES
    assert batch["boxes"].dtype == (np.float32 if how == "spec" else np.int64)
    assert batch["label"].tolist() == LABELS
    # Those that happen to be equally long, too.
    assert read_batch(reader, np.array([2, 2]))["boxes"].lengths.tolist() == [3, 3]


def test_an_empty_list_is_of_the_spec():
    reader = hr.GetItem([[1, 2], [], [3]], ragged=True)
    assert [sample.tolist() for sample in read_batch(reader, np.arange(3))] == [[1, 2], [], [3]]


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
    dataset = datasets.Dataset.from_dict({"boxes": boxes, "label": LABELS}).with_format("numpy")
    reader = hr.GetItem(dataset, ragged=["boxes"])
    for size in (1, 2, 4):
        found = [
            each for batch in hr.Loader(reader, size, shuffle=False) for each in batch["boxes"]
        ]
        assert [each.tolist() for each in found] == boxes


@pytest.mark.parametrize(
    "dataset", [one_by_one(BOXES), Columns(boxes=BOXES, label=LABELS)], ids=["list", "columns"]
)
def test_without_ragged_the_error_names_it(dataset):
    with pytest.raises(hr.SampleFormatError, match=r"sample 1\['boxes'\].*pass ragged=True"):
        read_batch(hr.GetItem(dataset), np.arange(2))


def test_a_sample_of_another_element_is_named():
    for columns in (False, True):
        boxes = [*BOXES[:2], [[1, 2, 3]]]
        dataset = Columns(boxes=boxes, label=LABELS[:3]) if columns else one_by_one(boxes)
        reader = hr.GetItem(dataset, ragged=True)
        with pytest.raises(hr.SampleFormatError, match=r"sample 2\['boxes'\].*\(1, 3\)") as caught:
            read_batch(reader, np.arange(3))
        assert caught.value.index == 2


def test_ragged_is_told_once():
    with pytest.raises(hr.ArgumentError, match="left out with spec="):
        hr.GetItem([[1]], spec=hr.Spec((None,), "int64"), ragged=True)
    for wrong in (1, [], [True], {"x": 1}):
        with pytest.raises(hr.ArgumentTypeError, match="ragged must be a bool"):
            hr.GetItem([{"x": [1]}], ragged=wrong)
    for sample, said in (([1], "is no dict"), (([1], 2), "is no dict"), ({"y": [1]}, "among 'y'")):
        with pytest.raises(hr.ArgumentError, match=said):
            hr.GetItem([sample], ragged=["x"])
