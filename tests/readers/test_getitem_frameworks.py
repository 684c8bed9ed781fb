"""GetItem over the datasets of PyTorch, Hugging Face and Grain, as their users make them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
datasets = pytest.importorskip("datasets", reason="needs datasets")
grain = pytest.importorskip("grain", reason="needs grain")

import headrace as hr

N = 20
X = np.random.default_rng(0).random((N, 3, 2), np.float32)
Y = np.arange(N) % 5


class Digits(torch.utils.data.Dataset):
    def __len__(self):
        return N

    def __getitem__(self, index):
        return torch.from_numpy(X[index]), int(Y[index])


def check(reader, x="x", y="y"):
    """A shuffled epoch of the reader holds the samples that its loader says."""
    loader = hr.Loader(reader, batch_size=6, seed=1, executor=hr.Inline())
    for step, batch in enumerate(loader):
        indices = loader.indices(0, step)
        assert batch[x].dtype == np.float32
        assert (batch[x] == X[indices]).all()
        assert (batch[y] == Y[indices]).all()


TORCH = {
    "dataset": Digits,
    "subset, asked for several at once": lambda: torch.utils.data.Subset(Digits(), range(N)),
    "tensors": lambda: torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)),
}


@pytest.mark.parametrize("make", TORCH.values(), ids=TORCH)
def test_torch_dataset(make):
    assert hasattr(torch.utils.data.Subset, "__getitems__")
    reader = hr.GetItem(make())
    assert reader.spec == (hr.Spec((3, 2), np.dtype("float32")), hr.Spec((), np.dtype("int64")))
    check(reader, 0, 1)


def test_torch_iterable_dataset_is_refused():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(range(3))

    with pytest.raises(hr.ArgumentTypeError, match="only be iterated over"):
        hr.GetItem(Stream())


def test_torch_tensor_that_numpy_does_not_know_is_named():
    with pytest.raises(hr.ArgumentTypeError, match="sample 0 can't become an array"):
        hr.GetItem([torch.zeros(2, requires_grad=True)])


@pytest.fixture
def table():
    features = datasets.Features(
        {
            "x": datasets.Array2D((3, 2), "float32"),
            "y": datasets.Value("int64"),
            "name": datasets.Value("string"),
        }
    )
    columns = {"x": X, "y": Y, "name": [f"sample {i}" for i in range(N)]}
    return datasets.Dataset.from_dict(columns, features=features)


@pytest.mark.parametrize("format_name", ["numpy", "torch"])
def test_hugging_face_dataset(table, format_name):
    data = table.select_columns(["x", "y"]).with_format(format_name)
    reader = hr.GetItem(data)
    assert list(reader.spec) == ["x", "y"]
    check(reader)


def test_hugging_face_lists_of_python_become_arrays(table):
    reader = hr.GetItem(
        table, spec={"x": hr.Spec((3, 2), np.dtype("float32")), "y": hr.Spec((), np.dtype(int))}
    )
    check(reader)


def test_hugging_face_dataset_is_asked_once_for_a_batch(table):
    asked = []

    def note(batch):
        asked.append(len(batch["y"]))
        return {"y": batch["y"]}

    reader = hr.GetItem(table.with_transform(note))
    out = {"y": np.empty(5, np.int64)}
    reader.read(np.array([3, 0, 3, 7, 19]), out)
    assert out["y"].tolist() == Y[[3, 0, 3, 7, 19]].tolist()
    assert asked == [1, 5]


def test_hugging_face_strings_are_refused_by_name(table):
    with pytest.raises(hr.ArgumentTypeError, match=r"sample 0\['name'\] is a str"):
        hr.GetItem(table)


@pytest.mark.parametrize(
    ("format_name", "type_name"), [("arrow", "Table"), ("pandas", "DataFrame")]
)
def test_hugging_face_tables_are_refused_with_the_remedy(table, format_name, type_name):
    pytest.importorskip("pandas", reason="needs pandas")
    data = table.select_columns(["x", "y"]).with_format(format_name)
    with pytest.raises(hr.ArgumentTypeError, match=rf"returned {type_name}.*with_format\("):
        hr.GetItem(data)


def test_hugging_face_value_that_is_null_is_named():
    data = datasets.Dataset.from_dict({"y": [5, 6, None, 7]}).with_format("numpy")
    reader = hr.GetItem(data)
    out = {"y": np.empty(4, np.int64)}
    with pytest.raises(
        hr.SampleFormatError, match=r"sample 2\['y'\] has the dtype float"
    ) as caught:
        reader.read(np.array([0, 3, 2, 1]), out)
    assert caught.value.index == 2


def test_hugging_face_files_are_read_by_arrow_too(table, tmp_path):
    table.save_to_disk(tmp_path, num_shards=3)
    check(hr.Arrow(tmp_path, ["x", "y"]))


def test_grain_source_and_dataset():
    class Source:
        def __len__(self):
            return N

        def __getitem__(self, index):
            return {"x": X[index], "y": Y[index]}

    assert isinstance(Source(), grain.sources.RandomAccessDataSource)
    check(hr.GetItem(Source()))
    check(hr.GetItem(grain.MapDataset.source(Source()).map(lambda sample: sample)))
    numbers = hr.GetItem(grain.sources.RangeDataSource(5, 50, 3))
    out = np.empty(2, np.int64)
    numbers.read(np.array([3, 0]), out)
    assert out.tolist() == [14, 5]


def test_an_endless_grain_dataset_is_refused():
    with pytest.raises(hr.ArgumentError, match=r"dataset must be one that ends.*for each epoch"):
        hr.GetItem(grain.MapDataset.range(5).repeat())
