"""What Keras gets from a loader: evaluate, predict, structures, weights, and the DataGenerator.

Runs on the backend that KERAS_BACKEND names, also on those that can't train.
"""

import numpy as np
import pytest

import headrace as hr

keras = pytest.importorskip("keras")

from keras_recording import BACKEND, BATCH, trains

from headrace.adapters.keras import DataGenerator


def identity_model(**compile_options):
    """A model that predicts its input, and whose loss is the mean of its predictions."""
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Rescaling(1.0)(inputs))
    model.compile(loss=lambda y, prediction: prediction, **compile_options)
    return model


def rows(n):
    return np.arange(n, dtype="float32")[:, None]


@pytest.mark.parametrize("n_batches", [1, 2, 3, 12])
@pytest.mark.parametrize("shuffle", [False, True])
def test_evaluate_sees_each_batch_once(n_batches, shuffle):
    x = np.repeat(np.arange(n_batches), BATCH).astype("float32")[:, None]
    loader = hr.Loader((x, x), batch_size=BATCH, shuffle=shuffle)
    model, dataset = identity_model(), loader.to_keras()
    for _ in range(2):
        assert model.evaluate(dataset, verbose=0) == pytest.approx((n_batches - 1) / 2)
    assert loader.place == (0, 0)


@pytest.mark.parametrize("n", [4, 8, 12, 45, 48])
def test_predict_comes_out_in_the_readers_order(n):
    loader = hr.Loader((rows(n), rows(n)), batch_size=BATCH, shuffle=False, tail="partial")
    model, dataset = identity_model(), loader.to_keras()
    for _ in range(2):
        assert model.predict(dataset, verbose=0)[:, 0].tolist() == list(range(n))


def test_predict_starts_at_the_first_batch_of_a_loader_within_an_epoch():
    loader = hr.Loader(rows(12), batch_size=BATCH, shuffle=False)
    next(iter(loader))
    prediction = identity_model().predict(loader.to_keras(), verbose=0)
    assert prediction[:, 0].tolist() == list(range(12))
    assert loader.place == (0, BATCH)


def test_an_unbuilt_model_predicts_in_order():
    class Unbuilt(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1, kernel_initializer="ones")

        def call(self, x):
            return self.dense(x)

    loader = hr.Loader(rows(12), batch_size=BATCH, shuffle=False)
    prediction = Unbuilt().predict(loader.to_keras(), verbose=0)
    assert prediction[:, 0].tolist() == list(range(12))


@pytest.mark.filterwarnings("ignore:.*structure of `inputs` doesn't match:UserWarning")  # openvino
def test_dict_inputs():
    a, b = keras.Input((1,), name="a"), keras.Input((1,), name="b")
    model = keras.Model({"a": a, "b": b}, keras.layers.Subtract()([a, b]))
    source = {"a": rows(12), "b": rows(12) * 3}
    prediction = model.predict(
        hr.Loader(source, batch_size=BATCH, shuffle=False).to_keras(), verbose=0
    )
    assert prediction[:, 0].tolist() == [-2.0 * i for i in range(12)]
    model.compile(loss=lambda y, prediction: prediction)
    with_labels = hr.Loader((source, rows(12)), batch_size=BATCH, shuffle=False).to_keras()
    assert model.evaluate(with_labels, verbose=0) == pytest.approx(-11)


def weighted_mean_model():
    model = identity_model(weighted_metrics=[keras.metrics.MeanSquaredError(name="error")])
    return lambda dataset: model.evaluate(dataset, verbose=0, return_dict=True)["error"]


def test_sample_weights():
    weights = np.arange(12, dtype="float32")
    loader = hr.Loader((rows(12), rows(12) * 0, weights), batch_size=BATCH)
    expected = (np.arange(12) ** 2 * weights).sum() / weights.sum()
    assert weighted_mean_model()(loader.to_keras()) == pytest.approx(expected)


@pytest.mark.parametrize("n", [1, 3, 9, 12])
@pytest.mark.parametrize("weighted", [False, True])
def test_padding_counts_for_nothing_in_weighted_metrics(n, weighted):
    weights = np.arange(1, n + 1, dtype="float32")
    source = (rows(n), rows(n) * 0, weights) if weighted else (rows(n), rows(n) * 0)
    loader = hr.Loader(source, batch_size=BATCH, tail="pad")
    assert len(loader) == -(-n // BATCH)
    used = weights if weighted else np.ones(n)
    expected = (np.arange(n) ** 2 * used).sum() / used.sum()
    assert weighted_mean_model()(loader.to_keras()) == pytest.approx(expected)


def test_padding_of_inputs_alone_is_refused():
    dataset = hr.Loader(rows(6), batch_size=BATCH, tail="pad").to_keras()
    with pytest.raises(ValueError, match="tail must be 'drop' or 'partial' for a source of inputs"):
        dataset[0]


@trains
def test_class_weight():
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(inputs))
    model.compile("sgd", "mse", weighted_metrics=[keras.metrics.MeanSquaredError(name="error")])
    classes = (np.arange(12) % 2).astype("float32")[:, None]
    loader = hr.Loader((classes + 1, classes), batch_size=12)
    padded = hr.Loader((classes[:5] + 2, classes[:5]), batch_size=4, tail="pad")
    history = model.fit(
        loader.to_keras(),
        class_weight={0: 1.0, 1: 0.0},
        validation_data=padded.to_keras(),  # which has no class weights, and may have padding
        verbose=0,
    ).history
    assert history["error"][0] == pytest.approx(1.0)
    assert np.isfinite(history["val_error"][0])


def test_keras_sees_one_worker_and_the_length():
    dataset = hr.Loader(rows(12), batch_size=BATCH).to_keras()
    assert isinstance(dataset, keras.utils.PyDataset)
    assert (dataset.workers, dataset.use_multiprocessing) == (1, False)
    assert len(dataset) == dataset.num_batches == 3


def test_items_are_batches_of_the_current_epoch():
    loader = hr.Loader(rows(12), batch_size=BATCH)
    dataset = loader.to_keras()
    for epoch in range(3):
        for i in (2, 0, 1, -1):
            expected = loader.indices(epoch, i % 3).tolist()
            (x,) = dataset[i]
            assert np.asarray(x)[:, 0].tolist() == expected
        assert len(list(dataset)) == 3
        dataset.on_epoch_end()  # in a loop of one's own
    for index in (3, -4):
        with pytest.raises(IndexError, match=r"index must lie in range\(3\)"):
            dataset[index]


def test_a_loader_without_steps_is_refused():
    with pytest.warns(UserWarning, match="no step"):
        loader = hr.Loader(rows(3), batch_size=BATCH)
    with pytest.raises(ValueError, match="at least one step"):
        loader.to_keras()


@pytest.mark.skipif(BACKEND != "torch", reason="tensors are for the torch backend")
def test_torch_gets_tensors_that_share_the_memory_of_the_batch():
    import torch

    seen = []
    loader = hr.Loader(
        (rows(8), rows(8)),
        batch_size=BATCH,
        transform=lambda batch, rng: seen.append(batch) or batch,
    )
    x, y = loader.to_keras()[0]
    assert isinstance(x, torch.Tensor)
    assert isinstance(y, torch.Tensor)
    assert x.data_ptr() == seen[0][0].ctypes.data


# --- the tutorial's class ------------------------------------------------------------------------


@pytest.fixture
def tutorial(tmp_path):
    """Files, ids and labels as the tutorial has them."""
    ids = [f"id-{i}" for i in range(11)]
    generator = np.random.default_rng(0)
    samples = {name: generator.normal(size=(3, 4, 2, 1)).astype("float32") for name in ids}
    for name, sample in samples.items():
        np.save(tmp_path / f"{name}.npy", sample)
    return tmp_path, ids, {name: i % 5 for i, name in enumerate(ids)}, samples


def test_the_generator_of_the_tutorial(tutorial):
    root, ids, labels, samples = tutorial
    generator = DataGenerator(
        ids, labels, batch_size=4, dim=(3, 4, 2), n_channels=1, n_classes=5, root=root
    )
    assert isinstance(generator, keras.utils.PyDataset)
    assert len(generator) == 2
    assert repr(generator).startswith("DataGenerator(Loader(n=11, batch_size=4, steps=2, ")
    orders = []
    for _ in range(2):
        order = []
        for i in (1, 0):
            x, y = (np.asarray(part) for part in generator[i])
            assert x.shape == (4, 3, 4, 2, 1)
            assert x.dtype == np.float32
            assert y.shape == (4, 5)
            for row, label in zip(x, y, strict=True):
                (name,) = (name for name in ids if (samples[name] == row).all())
                assert label.tolist() == [float(c == labels[name]) for c in range(5)]
                order.append(name)
        assert len(set(order)) == 8
        orders.append(order)
        generator.on_epoch_end()
    assert orders[0] != orders[1]


def test_the_generator_keeps_the_order_without_shuffle(tutorial):
    root, ids, labels, samples = tutorial
    generator = DataGenerator(
        ids, [labels[name] for name in ids], 4, (3, 4, 2), 1, 5, False, str(root)
    )
    x = np.concatenate([np.asarray(x) for x, _ in generator])
    assert (x == np.stack([samples[name] for name in ids[:8]])).all()


def test_the_generator_accepts_files_without_the_channel_axis(tutorial):
    root, ids, labels, samples = tutorial
    for name in ids[::2]:
        np.save(root / f"{name}.npy", samples[name][..., 0])
    options = {"batch_size": 4, "n_classes": 5, "shuffle": False, "root": root}
    x, _ = DataGenerator(ids, labels, dim=(3, 4, 2), **options)[0]
    assert (np.asarray(x) == np.stack([samples[name] for name in ids[:4]])).all()
    with pytest.raises(ValueError, match=r"its shape is \(3, 4, 2\); expected is \(4, 3, 2, 1\)"):
        DataGenerator(ids, labels, dim=(4, 3, 2), **options)


def test_the_generator_keeps_the_dtype_unless_one_is_asked_for(tutorial):
    root, ids, labels, samples = tutorial
    for name in ids:
        np.save(root / f"{name}.npy", (samples[name] * 10).astype("int16"))
    options = {"dim": (3, 4, 2), "batch_size": 4, "n_classes": 5, "root": root}
    assert np.asarray(DataGenerator(ids, labels, **options)[0][0]).dtype == np.int16
    asked = DataGenerator(ids, labels, dtype="float32", **options)
    assert np.asarray(asked[0][0]).dtype == np.float32


def test_the_generator_takes_the_options_of_keras(tutorial):
    root, ids, labels, _ = tutorial
    generator = DataGenerator(
        ids, labels, 4, (3, 4, 2), n_classes=5, root=root,
        workers=3, use_multiprocessing=True, max_queue_size=2,
    )  # fmt: skip
    assert generator.loader.executor.n == 3
    assert (generator.workers, generator.use_multiprocessing) == (1, False)
