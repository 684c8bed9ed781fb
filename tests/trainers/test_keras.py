"""Keras' fit, evaluate and predict, with `to_keras()` and with `to_torch()`.

Runs on the backend that KERAS_BACKEND names. What was trained on is read off the weights: a model
of one weight for each sample, whose loss has the gradient -1 for each sample of the batch, counts.
"""

import importlib.util

import numpy as np
import pytest
from other_python import printed_by

import headrace as hr

keras = pytest.importorskip("keras", reason="needs headrace[keras]")

from keras_recording import BACKEND, trains

N, BATCH = 22, 4
VERSION = tuple(map(int, keras.__version__.split(".")[:2]))

# What Keras says to any DataLoader in a fit that was not told shuffle=False.
pytestmark = pytest.mark.filterwarnings("ignore:.shuffle=True. was passed, but:UserWarning")


def make_loader(*, lone=False, n=N, **options):
    x = np.eye(n, dtype="float32")
    y = np.arange(n, dtype="float32")[:, None]
    options = {"tail": "partial", "executor": hr.Threads(2), **options}
    return hr.Loader(x if lone else (x, y), BATCH, **options)


def counting_model(n=N):
    model = keras.Sequential([keras.Input((n,)), keras.layers.Dense(1, use_bias=False)])
    model.layers[0].set_weights([np.zeros((n, 1))])
    model.compile(
        keras.optimizers.SGD(1.0),
        loss=lambda y, output: -keras.ops.sum(output),
        metrics=[number],
    )
    return model


def number(y, output):
    """The mean of the samples' numbers."""
    return y


def counts(model):
    """How often each sample was trained on."""
    return np.round(model.get_weights()[0][:, 0]).astype(int).tolist()


def numbering_model(n=N):
    """Predicts the numbers of the samples."""
    model = counting_model(n)
    model.layers[0].set_weights([np.arange(n, dtype="float32")[:, None]])
    return model


HAS_TORCH = bool(importlib.util.find_spec("torch"))
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="needs headrace[torch]")


def way(loader, name):
    if name == "to_torch with a worker":  # which is not forked, as JAX has threads
        return loader.to_torch(num_workers=1, multiprocessing_context="spawn")
    return getattr(loader, name)()


TO_TORCH = pytest.param("to_torch", marks=needs_torch)
both = pytest.mark.parametrize("to", ["to_keras", TO_TORCH])


@trains
@pytest.mark.cell("Keras", "evaluation twice")
@both
def test_fit_and_evaluate_take_all_samples_and_all_steps(to):
    model, steps = counting_model(), []
    log = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: steps.append(step))
    loader, evaluated = make_loader(), make_loader(shuffle=False)
    batches, validation = way(loader, to), way(evaluated, to)
    history = model.fit(
        batches, epochs=3, verbose=0, callbacks=[log], validation_data=validation
    ).history
    assert counts(model) == [3] * N
    assert steps == [*range(6)] * 3
    mean = (N - 1) / 2
    assert history["number"] == history["val_number"] == pytest.approx([mean] * 3)
    for _ in range(2):
        measured = model.evaluate(validation, verbose=0, return_dict=True)
        assert measured["number"] == pytest.approx(mean)


@pytest.mark.cell("Keras", "peek", "workers")
@pytest.mark.parametrize(
    "to", ["to_keras", TO_TORCH, pytest.param("to_torch with a worker", marks=needs_torch)]
)
def test_predict_gives_all_samples_in_their_order_also_after_a_look(to):
    model = numbering_model()
    batches = way(make_loader(shuffle=False), to)
    x, _ = batches[0] if to == "to_keras" else next(iter(batches))
    assert len(x) == BATCH
    for _ in range(2):
        assert model.predict(batches, verbose=0)[:, 0].tolist() == list(range(N))


@both
@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"shuffle": True}, "the order of the batches, which is not that of the samples"),
        ({"tail": "drop"}, "the order of the samples, without the last 2"),
        (
            {"tail": "pad"},
            "the order of the samples, and more for the padding of the last batch. "
            f"To match them with the samples, take the first {N} of them, or use",
        ),
    ],
)
def test_predictions_that_do_not_match_the_samples_are_warned_of(to, options, what):
    batches = way(make_loader(**{"shuffle": False, **options}), to)
    if to == "to_torch" and BACKEND == "tensorflow":
        pytest.skip("TensorFlow asks in a thread that knows nothing of predict")
    with pytest.warns(UserWarning, match=f"predict gives predictions in {what}"):
        numbering_model().predict(batches, verbose=0)


@trains
@pytest.mark.cell("Keras", "limit")
@pytest.mark.parametrize("steps", [4, 6, 9])
def test_no_epoch_with_steps_per_epoch_is_cut_short(steps):
    loader, model, seen = make_loader(n=24), counting_model(24), []
    log = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: seen.append(step))
    data = loader.to_keras()
    model.fit(data, epochs=6, steps_per_epoch=steps, verbose=0, callbacks=[log])
    assert seen == [*range(steps)] * 6
    assert counts(model) == [steps] * 24  # 6 * steps batches of 4
    assert loader.place == (steps, 0)
    if HAS_TORCH and BACKEND != "tensorflow":  # which asks in a thread that knows nothing of fit
        batches = make_loader(n=24).to_torch()
        if 6 % steps:
            with pytest.raises(hr.ArgumentError, match=r"steps_per_epoch must.*loader.to_keras"):
                model.fit(batches, epochs=6, steps_per_epoch=steps, verbose=0)
        else:
            model.fit(batches, epochs=1, steps_per_epoch=steps, verbose=0)
            assert counts(model) == [steps + 1] * 24


@needs_torch
@pytest.mark.skipif(BACKEND == "torch", reason="Keras takes such batches on torch")
def test_batches_of_to_torch_that_keras_would_misread_are_refused():
    lone = make_loader(lone=True, shuffle=False)
    model = numbering_model()
    assert model.predict(lone.to_keras(), verbose=0)[:, 0].tolist() == list(range(N))
    with pytest.raises(Exception, match=r"Pass loader.to_keras\(\) to Keras instead") as raised:
        model.predict(lone.to_torch(), verbose=0)
    if BACKEND != "tensorflow":
        assert isinstance(raised.value, hr.ArgumentError)
    named = hr.Loader({"x": np.eye(N)}, BATCH, shuffle=False, tail="partial")
    with pytest.raises(Exception, match=r"Pass loader.to_keras\(\) to Keras instead"):
        numbering_model().predict(named.to_torch(), verbose=0)


@needs_torch
@pytest.mark.filterwarnings("ignore:predict gives predictions in the order of the samples, and")
def test_padding_of_inputs_alone_is_refused():
    batches = make_loader(lone=True, shuffle=False, tail="pad").to_torch()
    with pytest.raises(Exception, match="tail must be 'drop' or 'partial'"):
        numbering_model().predict(batches, verbose=0)


@pytest.mark.skipif(VERSION < (3, 13), reason="Keras' Normalization took no dataset of Keras")
@pytest.mark.skipif(not importlib.util.find_spec("tensorflow"), reason="Keras adapts with it")
def test_preprocessing_layers_adapt_to_a_lone_array_and_to_the_inputs_of_pairs():
    x = np.random.default_rng(0).normal(3, 2, (N, 2)).astype("float32")
    words = np.array(["pond", "race", "race", "mill"] * 3)
    for paired in (False, True):

        def data(inputs, batch_size=BATCH, paired=paired, **options):
            source = (inputs, np.arange(100, 100 + len(inputs))) if paired else inputs
            return hr.Loader(source, batch_size, **{"tail": "partial", **options}).to_keras()

        if tuple(map(int, keras.__version__.split(".")[:2])) >= (
            3,
            13,
        ):  # before, it took no dataset of Keras
            adapted, expected = keras.layers.Normalization(), keras.layers.Normalization()
            adapted.adapt(data(x))
            expected.adapt(x)
            np.testing.assert_allclose(adapted(x[:5]), expected(x[:5]), rtol=1e-4)
        if BACKEND != "torch":  # whose tensors these layers do not take
            layer = keras.layers.StringLookup()
            layer.adapt(data(words))
            assert layer.get_vocabulary()[:2] == ["[UNK]", "race"]
            binned, expected = (keras.layers.Discretization(num_bins=3) for _ in range(2))
            binned.adapt(data(x, N, shuffle=False))
            expected.adapt(x)
            np.testing.assert_array_equal(binned.bin_boundaries, expected.bin_boundaries)
            with pytest.raises(hr.ArgumentError, match="tail must be 'drop' or 'partial' for a"):
                binned.adapt(data(x, tail="pad"))


def test_a_loader_itself_leads_to_to_keras():
    for method in ("fit", "evaluate", "predict"):
        with pytest.raises(ValueError, match=r"a framework takes loader\.to_keras\(\)"):
            getattr(counting_model(), method)(make_loader(), verbose=0)
    assert "to_keras" not in repr(make_loader())


needs_jax = pytest.mark.skipif(BACKEND != "jax", reason="Keras' distribution is that of JAX here")


@needs_jax
def test_a_distribution_that_would_shard_the_batches_by_index_is_refused(monkeypatch):
    """As Keras does after 3.15. Before, it has an error of its own."""
    data = make_loader(n=24).to_keras()
    distribution = keras.distribution.DataParallel(devices=keras.distribution.list_devices())
    monkeypatch.setattr(distribution, "_is_multi_process", True)
    monkeypatch.setattr(keras.distribution, "distribution", lambda: distribution)
    for batches in (data, make_loader(n=24).to_torch()) if HAS_TORCH else (data,):
        with pytest.raises(hr.ArgumentError, match="Pass auto_shard_dataset=False to keras"):
            counting_model(24).fit(batches, verbose=0)


@needs_jax
@needs_torch
def test_a_last_batch_that_devices_can_not_share_is_refused_before_training():
    script = """
        import keras, numpy as np, headrace as hr
        devices = keras.distribution.list_devices()
        assert len(devices) == 4
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))

        def model():  # as Keras takes the weights out of one while it trains
            model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
            model.compile("sgd", "mse")
            return model

        x = np.zeros((22, 1), "float32")
        for to in ("to_keras", "to_torch"):
            buckets = hr.Buckets([1] * 22, [1], batch_sizes=[6])
            for options in (
                {"batch_size": 8, "shuffle": False, "tail": "partial"},
                {"batch_size": 6, "shuffle": False},
                {"batch_size": 8, "shuffle": buckets},
            ):
                batches = getattr(hr.Loader((x, x), **options), to)()
                for method in ("fit", "evaluate", "predict"):
                    steps = []
                    log = keras.callbacks.LambdaCallback(
                        on_train_batch_end=lambda *_: steps.append(1))
                    try:
                        getattr(model(), method)(batches, verbose=0, callbacks=[log])
                    except hr.ArgumentError as error:
                        print(to, method, len(steps), str(error)[:40])
            for n, tail in ((20, "partial"), (22, "pad"), (22, "drop")):
                rest = hr.Loader((x[:n], x[:n]), 8, tail=tail, shuffle=False)
                model().fit(getattr(rest, to)(), verbose=0)
                model().evaluate(getattr(rest, to)(), verbose=0)
    """
    four_devices = {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "KERAS_BACKEND": "jax",
    }
    expected = [
        f"{to} {method} 0 {said}"
        for to in ("to_keras", "to_torch")
        for said in (
            "tail must be 'pad' or 'drop', but is 'pa",
            "batch_size must be a multiple of 4 over ",
            "batch_size must be a multiple of 4 over ",
        )
        for method in ("fit", "evaluate", "predict")
    ]
    assert printed_by(script, environment=four_devices).splitlines() == expected
