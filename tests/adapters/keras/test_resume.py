"""An interrupted fit goes on with the next batch, on the backend that KERAS_BACKEND names."""

import contextlib
import json

import numpy as np
import pytest

import headrace as hr

keras = pytest.importorskip("keras")

from keras_recording import (
    BACKEND,
    BATCH,
    KillAfter,
    Killed,
    StopAfter,
    built_model,
    expected,
    fit,
    interrupted,
    make_loader,
    recording_model,
    resumed,
    some,
    trains,
)

from headrace.adapters.keras import ResumeTraining

pytestmark = trains


# --- every stop ----------------------------------------------------------------------------------


@pytest.mark.cell("Keras", "resume within an epoch", "resume at an epoch's end")
@pytest.mark.parametrize("executor", some(["inline", "threads", "processes"], few=["threads"]))
def test_after_every_stop_in_two_epochs_the_next_batches_train(executor):
    executors = {"inline": hr.Inline(), "threads": hr.Threads(3), "processes": hr.Processes(1)}
    log = []
    model = built_model(log)
    whole = expected(make_loader(5), 15)
    for stop in range(1, 11):
        log.clear()
        first = make_loader(5, executor=executors[executor])
        data = first.to_keras()
        with pytest.raises(Killed):
            fit(model, data, epochs=3, callbacks=[KillAfter(stop)])
        state = json.loads(json.dumps(first.state_dict()))
        then = make_loader(5, executor=hr.Inline() if stop % 2 else hr.Threads(1))
        then.load_state_dict(state)
        fit(model, then.to_keras(), epochs=1)
        assert log == whole[: stop + 5]
    executors[executor].close()


@pytest.mark.parametrize("stop", some(range(1, 11), few=[3, 5, 6]))
def test_the_interrupted_epoch_is_finished_and_the_others_are_whole(file, stop):
    log = []
    interrupted(make_loader(5), file, stop, log, epochs=3)
    assert len(log) == stop
    loader = make_loader(5)
    history = resumed(loader, file, log, epochs=3, validation_data=make_loader(2).to_keras())
    # What is saved after the last batch of an epoch is saved after its validation.
    saved = stop - 1 if stop % 5 == 0 else stop
    del log[saved:stop]
    assert log == expected(loader, 15)
    assert loader.place == (3, 0)
    assert history.epoch == list(range(saved // 5, 3))
    assert len(history.history["val_loss"]) == len(history.epoch)


@pytest.mark.parametrize("size", some([1, 3, 7], few=[3]))
def test_another_batch_size_goes_on_with_the_same_order(file, size):
    log = []
    interrupted(make_loader(5), file, 2, log)
    x = np.arange(5 * BATCH, dtype="float32")[:, None]
    loader = hr.Loader((x, x), batch_size=size, tail="partial")
    assert resumed(loader, file, log).epoch == [0, 1]
    trained = [sample for batch in log for sample in batch]
    assert trained == [sample for batch in expected(make_loader(5), 10) for sample in batch]


def test_another_batch_size_with_which_the_epoch_is_over(file):
    log = []
    interrupted(make_loader(5), file, 4, log)
    x = np.arange(5 * BATCH, dtype="float32")[:, None]
    loader = hr.Loader((x, x), batch_size=5)
    assert resumed(loader, file, log).epoch == [1]  # what is left, 4 samples, is dropped
    assert log[4:] == [loader.indices(1, step).tolist() for step in range(4)]


@pytest.mark.parametrize(
    ("steps", "stop"),
    some([(s, n) for s in (3, 9, 12) for n in (1, 5, 13, 17)], few=[(3, 3), (3, 13), (9, 5)]),
)
def test_steps_per_epoch(file, steps, stop):
    log = []
    epochs = 36 // steps
    interrupted(make_loader(12), file, stop, log, epochs=epochs, steps_per_epoch=steps)
    saved = stop - 1 if stop % steps == 0 else stop
    del log[saved:stop]
    history = resumed(make_loader(12), file, log, epochs=epochs, steps_per_epoch=steps)
    assert history.epoch == list(range(saved // steps, epochs))
    assert log == expected(make_loader(12), 36)


@pytest.mark.skipif(BACKEND == "torch", reason="Keras takes single steps on torch")
def test_several_steps_in_one_execution(file):
    log = []
    loader = make_loader(6)
    data, model = loader.to_keras(), recording_model(log, steps_per_execution=2)
    model(np.zeros((1, 1)))
    callbacks = [ResumeTraining(data, file, 2), KillAfter(2)]
    with pytest.raises(Killed):
        fit(model, data, epochs=2, callbacks=callbacks)
    assert len(log) == 4
    fit(model, data, epochs=2, callbacks=[ResumeTraining(data, file, 2)])
    assert log == expected(loader, 12)


# --- beside other callbacks ----------------------------------------------------------------------


@pytest.mark.parametrize("backup_freq", ["epoch", 2])
def test_beside_backup_and_restore(file, tmp_path, backup_freq):
    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=backup_freq)

    log = []
    loader = make_loader(5)
    data = loader.to_keras()
    callbacks = [backup(), ResumeTraining(data, file, 3), KillAfter(9)]
    with pytest.raises(Killed):
        fit(built_model(log), data, epochs=3, callbacks=callbacks)
    assert resumed(make_loader(5), file, log, epochs=3, before=[backup()]).epoch == [1, 2]
    assert log == expected(loader, 15)


def test_a_callback_that_restores_something_else_after_it_is_an_error(file, tmp_path):
    log = []
    data = make_loader(5).to_keras()

    def callbacks():
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        return [ResumeTraining(data, file, 3), backup]

    with pytest.raises(Killed):
        fit(built_model(log), data, epochs=3, callbacks=[*callbacks(), KillAfter(9)])
    with pytest.raises(hr.HeadraceError, match="Put it before ResumeTraining"):
        fit(built_model(log), data, epochs=3, callbacks=callbacks())


class Evaluates(keras.callbacks.Callback):
    """Evaluates the dataset that is trained on, at the beginning or end of training or epochs."""

    def __init__(self, data, when):
        super().__init__()
        setattr(self, f"on_{when}", lambda *_: self.model.evaluate(data, verbose=0))


@pytest.mark.parametrize(
    ("when", "steps_per_epoch"),
    some(
        [(w, s) for w in ("train_begin", "epoch_begin", "epoch_end") for s in (None, 3, 7)],
        few=[("train_begin", 3), ("epoch_begin", None)],
    ),
)
def test_a_callback_may_evaluate_the_dataset_that_is_trained_on(file, when, steps_per_epoch):
    if BACKEND == "jax" and keras.__version__.startswith("3.11.") and when != "epoch_end":
        pytest.skip("Keras 3.11 on JAX fails to evaluate before the first step, also of arrays")
    log, steps = [], steps_per_epoch or 5
    for stop in (steps + 2, 0):
        data = make_loader(5).to_keras()
        callbacks = [ResumeTraining(data, file, 1), Evaluates(data, when), KillAfter(stop)]
        options = {"epochs": 3, "steps_per_epoch": steps_per_epoch, "callbacks": callbacks}
        with pytest.raises(Killed) if stop else contextlib.nullcontext():
            fit(built_model(log), data, **options)
    assert log == expected(make_loader(5), 3 * steps)


class Rates(keras.callbacks.Callback):
    """Appends the learning rate of each step to `rates`."""

    def __init__(self, rates):
        super().__init__()
        self.rates = rates

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))


@pytest.mark.parametrize(
    ("save_freq", "stop", "saved"), some([("epoch", 4, 3), (1, 4, 4), (1, 7, 7)], few=[(1, 4, 4)])
)
def test_a_learning_rate_that_a_callback_changes_by_epoch(file, save_freq, stop, saved):
    """It is halved once in each epoch, also in one that goes on."""
    log, rates = [], []

    def callbacks():
        schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
        return [schedule, Rates(rates)]

    data = make_loader(3).to_keras()
    before = [*callbacks(), ResumeTraining(data, file, save_freq), KillAfter(stop)]
    with pytest.raises(Killed):
        fit(built_model(log), data, epochs=3, callbacks=before)
    del rates[saved:]
    resumed(make_loader(3), file, log, epochs=3, save_freq=save_freq, before=callbacks())
    np.testing.assert_allclose(rates, [0.005] * 3 + [0.0025] * 3 + [0.00125] * 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("stop", "save_freq"),
    some([(n, f) for n in (2, 5, 7) for f in ("epoch", 1, 3, 100)], few=[(5, 1), (7, "epoch")]),
)
def test_a_stop_by_callback_within_an_epoch_is_gone_on_with(file, stop, save_freq):
    log = []
    data = make_loader(5).to_keras()
    callbacks = [ResumeTraining(data, file, save_freq), StopAfter(stop)]
    fit(built_model(log), data, epochs=3, callbacks=callbacks)
    if stop == 5:  # the epoch has ended, and so has training, as by EarlyStopping
        assert not file.exists()
        return
    assert resumed(make_loader(5), file, log, 3, save_freq).epoch == list(range(stop // 5, 3))
    assert log == expected(make_loader(5), 15)
