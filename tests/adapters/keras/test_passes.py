"""The batches that train are the loader's, in order, whatever Keras does around them.

Recorded inside the training step, on the backend that KERAS_BACKEND names.
"""

import copy
import functools
import time

import numpy as np
import pytest

import headrace as hr

keras = pytest.importorskip("keras")

from keras_recording import (
    BACKEND,
    BATCH,
    KillAfter,
    StopAfter,
    expected,
    fit,
    make_loader,
    recording_model,
    some,
    trains,
)

from headrace.adapters.keras import KerasDataset
from headrace.testing.processes import eventually

pytestmark = trains


def check(log, loader, steps):
    assert log == expected(loader, steps)
    epoch, position = loader.place
    assert epoch * len(loader) * BATCH + position == steps * BATCH


@pytest.fixture(params=some([1, 2, 3, 12], few=[1, 3]))
def n_batches(request):
    return request.param


@pytest.mark.parametrize("shuffle", [True, False])
def test_epochs_of_a_fresh_model(n_batches, shuffle):
    loader, log = make_loader(n_batches), []
    fit(recording_model(log), loader.to_keras(), epochs=3, shuffle=shuffle)
    check(log, loader, 3 * n_batches)


def test_a_second_fit_after_a_new_compile(n_batches):
    loader, log = make_loader(n_batches), []
    dataset, model = loader.to_keras(), recording_model(log)
    fit(model, dataset, epochs=2)
    model.compile("adam", "mse", metrics=["mae"])
    fit(model, dataset, epochs=2)
    fit(model, loader.to_keras())  # another dataset goes on where the loader stands
    check(log, loader, 5 * n_batches)


def test_large_batches_whose_memory_is_used_again():
    x = np.repeat(np.arange(12 * BATCH, dtype="float32")[:, None], 20_000, axis=1)
    loader, log = hr.Loader((x, x[:, :1]), batch_size=BATCH, executor=hr.Threads(2)), []
    fit(recording_model(log), loader.to_keras(), epochs=6)
    check(log, loader, 6 * 12)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_steps_per_epoch_below_the_length_go_on_with_the_same_pass(n_batches, steps):
    steps = min(steps, n_batches)
    loader, log = make_loader(n_batches), []
    whole = n_batches // steps
    dataset, model = loader.to_keras(), recording_model(log)
    fit(model, dataset, epochs=whole, steps_per_epoch=steps)
    check(log, loader, whole * steps)
    fit(model, dataset, epochs=2)  # from within an epoch of the loader
    check(log, loader, whole * steps + 2 * n_batches)


@pytest.mark.parametrize("steps", [5, 11, 13, 30])
def test_steps_per_epoch_that_do_not_divide_the_length(steps):
    loader, log = make_loader(12), []
    dataset = loader.to_keras()
    fit(recording_model(log), dataset, epochs=4, steps_per_epoch=steps, validation_data=dataset)
    check(log, loader, 4 * steps)
    fit(recording_model(log), dataset, epochs=2)
    check(log, loader, 4 * steps + 24)


@pytest.mark.parametrize("same", [False, True])
def test_validation_within_fit(n_batches, same):
    loader, log = make_loader(n_batches), []
    dataset = loader.to_keras()
    validation = dataset if same else make_loader(n_batches, shuffle=False).to_keras()
    model = recording_model(log)
    fit(model, dataset, epochs=3, validation_data=validation)
    fit(model, dataset, epochs=2, validation_data=validation, validation_steps=1)
    check(log, loader, 5 * n_batches)
    if not same:
        assert validation.loader.place == (0, 0)


@pytest.mark.filterwarnings("ignore:predict gives predictions in the order of the batches")
def test_evaluate_and_predict_between_fits(n_batches):
    loader, log = make_loader(n_batches), []
    dataset, model = loader.to_keras(), recording_model(log)
    model.evaluate(dataset, verbose=0)
    for _ in range(2):
        fit(model, dataset)
        model.evaluate(dataset, verbose=0)
        model.predict(dataset, verbose=0)
        dataset[0]
    check(log, loader, 2 * n_batches)


@pytest.mark.cell("Keras", "early stop")
@pytest.mark.parametrize("stop", some([1, 2, 5, 12], few=[1, 5, 12]))
def test_training_stopped_within_an_epoch(stop):
    loader, log = make_loader(12), []
    dataset, model = loader.to_keras(), recording_model(log)
    fit(model, dataset)
    for fits in range(1, 4):
        fit(model, dataset, epochs=2, callbacks=[StopAfter(stop)])
        check(log, loader, 12 + fits * stop)
    fit(model, dataset, epochs=2)
    check(log, loader, 12 + 3 * stop + 24)


def test_training_that_an_exception_ends_within_an_epoch():
    loader, log = make_loader(12), []
    dataset, model = loader.to_keras(), recording_model(log)
    with pytest.raises(KeyboardInterrupt):
        fit(model, dataset, callbacks=[KillAfter(5, KeyboardInterrupt)])
    fit(model, dataset)
    check(log, loader, 5 + 12)


def slow(batch, rng):
    time.sleep(0.01)
    return batch


def test_requests_that_outlive_their_fit_take_nothing_from_the_next():
    # tensorflow's prefetch goes on asking for batches after training has stopped.
    loader, log = make_loader(12, transform=slow, executor=hr.Inline()), []
    dataset, model = loader.to_keras(), recording_model(log)
    for fits in range(1, 8):
        fit(model, dataset, epochs=2, callbacks=[StopAfter(2)])
        check(log, loader, 2 * fits)


@pytest.mark.skipif(BACKEND == "torch", reason="Keras on torch has no steps_per_execution")
@pytest.mark.parametrize("steps", [2, 3, 5])
def test_several_steps_in_an_execution(n_batches, steps):
    loader, log = make_loader(n_batches), []
    model = recording_model(log, steps_per_execution=min(steps, n_batches))
    dataset = loader.to_keras()
    for fits in range(1, 4):
        fit(model, dataset)
        check(log, loader, fits * n_batches)


def test_the_loader_stands_right_within_a_users_callback():
    loader, log, places = make_loader(12), [], []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            places.append(loader.state_dict()["position"])

    fit(recording_model(log), loader.to_keras(), epochs=2, callbacks=[Look()])
    assert places == [(s + 1) % 12 * BATCH for s in range(24)]


def test_a_list_of_callbacks_used_again_moves_only_the_loader_that_trains():
    first, second, log = make_loader(3), make_loader(2, seed=5), []
    model = recording_model(log)
    callbacks = keras.callbacks.CallbackList([], add_history=True, model=model)
    fit(model, first.to_keras(), callbacks=callbacks)
    fit(model, second.to_keras(), callbacks=callbacks)
    assert first.place == (1, 0)
    assert second.place == (1, 0)
    assert log == expected(first, 3) + expected(second, 2)


def test_a_subclass_that_overrides_the_methods_of_a_dataset():
    class Shifted(KerasDataset):
        def __getitem__(self, index):
            x, y = super().__getitem__(index)
            return x + 1000, y

        def on_epoch_begin(self):
            super().on_epoch_begin()

        def on_epoch_end(self):
            super().on_epoch_end()

    loader, log = make_loader(3), []
    fit(recording_model(log), Shifted(loader), epochs=2)
    check([[sample - 1000 for sample in batch] for batch in log], loader, 6)


def test_a_decorated_method_of_a_subclass():
    def decorated(method):
        @functools.wraps(method)
        def wrapper(*arguments):
            return method(*arguments)

        return wrapper

    class Decorated(KerasDataset):
        __getitem__ = decorated(decorated(KerasDataset.__getitem__))

    loader, log = make_loader(3), []
    fit(recording_model(log), Decorated(loader), epochs=2)
    check(log, loader, 6)


def test_training_on_batches_of_another_origin_is_refused():
    class Elsewhere(KerasDataset):
        def __getitem__(self, index):
            return self.loader.batch(0, index)  # behind the dataset's back

    with pytest.raises(hr.HeadraceError, match="did not take from this dataset"):
        fit(recording_model([]), Elsewhere(make_loader(3)), epochs=2)


def test_moving_the_loader_while_it_trains_is_refused():
    loader = make_loader(12)

    class Move(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                loader.seek(5)

    with pytest.raises(hr.LoaderMovedError):
        fit(recording_model([]), loader.to_keras(), callbacks=[Move()])
    assert loader.place == (5, 0)


def test_a_copy_of_a_dataset_trains_on_its_own_loader():
    loader, log = make_loader(3), []
    dataset = loader.to_keras()
    fit(recording_model(log), dataset)
    copied = copy.deepcopy(dataset)
    assert copied.loader.place == (1, 0)
    fit(recording_model(log), copied)
    assert log == expected(loader, 6)
    assert (loader.place, copied.loader.place) == ((1, 0), (2, 0))


def test_looking_at_batches_while_training():
    loader, log, seen = make_loader(3), [], []
    dataset = loader.to_keras()

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append([int(x[0, 0]) for x, _ in iter(dataset)])

    fit(recording_model(log), dataset, epochs=2, callbacks=[Look()])
    check(log, loader, 6)
    firsts = [[batch[0] for batch in expected(loader, 3, start=3 * e)] for e in range(3)]
    assert seen == [firsts[(s + 1) // 3] for s in range(6)]


def test_a_bad_sample_fails_its_step_and_can_be_mended(tmp_path):
    for i in range(12):
        np.save(tmp_path / f"{i}.npy", np.full(1, i, "float32"))
    files = hr.NpyFiles(tmp_path, ids=range(12))
    loader = hr.Loader((files, files), batch_size=BATCH, shuffle=False)
    dataset, log = loader.to_keras(), []
    model = recording_model(log)
    (tmp_path / "9.npy").rename(tmp_path / "away")
    with pytest.raises(Exception, match="sample 9 does not exist"):
        fit(model, dataset)
    if BACKEND == "jax":
        import jax

        jax.effects_barrier()
    assert len(log) <= 2  # Keras before 3.15 takes a batch ahead on jax, and trains on one only
    assert eventually(lambda: loader.place == (0, len(log) * BATCH))
    trained = len(log)
    (tmp_path / "away").rename(tmp_path / "9.npy")
    fit(model, dataset)
    check(log, loader, trained + 3)


def test_a_trainer_of_an_unknown_form_is_refused():
    epochs = keras.src.trainers.epoch_iterator.EpochIterator(make_loader(2).to_keras())
    with pytest.raises(hr.HeadraceError, match="can't tell which batches this Keras"):
        next(iter(epochs))
