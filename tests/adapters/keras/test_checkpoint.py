"""The file of `ResumeTraining`: how long it is there, and what is refused."""

import os

import numpy as np
import pytest

import headrace as hr

keras = pytest.importorskip("keras")

from keras_recording import (
    BACKEND,
    BATCH,
    KillAfter,
    Killed,
    built_model,
    expected,
    fit,
    interrupted,
    make_loader,
    recording_model,
    resumed,
    trains,
)

from headrace.adapters.keras import ResumeTraining

pytestmark = trains


def test_the_file_goes_with_the_end_of_fit_and_the_next_fit_begins_anew(file):
    log = []
    model = built_model(log)
    interrupted(make_loader(3), file, 2, log)
    assert file.exists()
    resumed(make_loader(3), file, log, model=model)
    assert not file.exists()
    assert resumed(make_loader(3), file, log, model=model).epoch == [0, 1]
    assert log == expected(make_loader(3), 6) + expected(make_loader(3), 6)


def test_a_file_that_stays_leaves_the_next_fit_nothing_to_do(file):
    log = []
    loader = make_loader(3)
    data = loader.to_keras()
    for epochs in [2, 2, 3]:
        callbacks = [ResumeTraining(data, file, delete_checkpoint=False)]
        fit(built_model(log), data, epochs=epochs, callbacks=callbacks)
    assert log == expected(loader, 9)


def test_fits_in_a_loop(file):
    """With the file kept, those that were made before do nothing."""
    log = []

    def train(stop=None):
        data = make_loader(5).to_keras()
        resume = ResumeTraining(data, file, 1, delete_checkpoint=False)
        kill = [KillAfter(stop)] if stop else []
        model = built_model(log)
        for epoch in range(4):
            fit(model, data, initial_epoch=epoch, epochs=epoch + 1, callbacks=[resume, *kill])

    with pytest.raises(Killed):
        train(stop=13)
    train()
    assert log == expected(make_loader(5), 20)


def test_a_fit_with_fewer_epochs_leaves_the_file(file):
    log = []
    interrupted(make_loader(3), file, 5, log, epochs=3)
    assert resumed(make_loader(3), file, log, epochs=1).epoch == []
    resumed(make_loader(3), file, log, epochs=3)
    assert log == expected(make_loader(3), 9)


def test_a_fit_without_it_begins_with_its_first_epoch_after_one_that_was_resumed(file):
    log = []
    interrupted(make_loader(3), file, 5, log, epochs=3)
    loader = make_loader(3)
    data, model = loader.to_keras(), built_model(log)
    with pytest.raises(Killed):
        fit(model, data, epochs=3, callbacks=[ResumeTraining(data, file, 1), KillAfter(1)])
    fit(model, data, epochs=2)
    assert log == expected(make_loader(3), 12)


def test_a_relative_path_is_where_it_was_when_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = make_loader(3).to_keras()
    resume = ResumeTraining(data, "new/train.weights.h5", delete_checkpoint=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    fit(built_model([]), data, callbacks=[resume])
    assert (tmp_path / "new" / "train.weights.h5").exists()


def test_keras_can_load_the_weights_of_the_file(file):
    log = []
    interrupted(make_loader(3), file, 2, log)
    model, other = built_model(log), built_model(log)
    model.load_weights(file)
    resumed(make_loader(3), file, log, model=other, epochs=0)
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_a_kill_while_saving_leaves_does_no_harm(file):
    log = []
    interrupted(make_loader(3), file, 2, log)
    file.with_name(".train-partial.weights.h5").write_bytes(b"half of it")
    resumed(make_loader(3), file, log)
    assert log == expected(make_loader(3), 6)
    assert list(file.parent.iterdir()) == []


def test_rank_0_alone_saves_and_all_ranks_go_on(file):
    log = []
    x = np.arange(6 * BATCH, dtype="float32")[:, None]
    loaders = [hr.Loader((x, x), 2, rank=rank, world_size=2) for rank in range(2)]
    interrupted(loaders[1], file, 2, log)
    assert not file.exists()
    log.clear()
    interrupted(loaders[0], file, 2, log)
    assert file.exists()
    for loader in loaders[::-1]:
        loader.seek(0)
        resumed(loader, file, log)
        assert loader.place == (2, 0)
        assert file.exists() == bool(loader.sampler.rank)
    ranks = [list(loader.indices(s // 6, s % 6)) for s in range(2, 12) for loader in loaders[1:]]
    assert log[2:12] == ranks


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"filepath": 3}, TypeError, "filepath must be a path"),
        ({"filepath": "weights.h5"}, ValueError, "filepath must end with '.weights.h5'"),
        ({"save_freq": "batch"}, ValueError, "save_freq must be 'epoch', or a number of batches"),
        ({"save_freq": 0}, ValueError, "save_freq must be an int from 1"),
        ({"save_freq": 2.5}, TypeError, "save_freq must be an int"),
        ({"dataset": [1, 2]}, TypeError, r"dataset must be what Loader.to_keras\(\) gives"),
    ],
)
def test_arguments(file, arguments, error, message):
    allowed = {"dataset": make_loader(3).to_keras(), "filepath": file}
    with pytest.raises(error, match=message) as caught:
        ResumeTraining(**allowed | arguments)
    assert isinstance(caught.value, hr.HeadraceError)


def test_a_file_of_other_data_is_refused(file):
    log = []
    interrupted(make_loader(3), file, 2, log)
    with pytest.raises(hr.StateError, match="'samples' is 12, and this loader's is 16"):
        resumed(make_loader(4), file, log)
    with pytest.raises(hr.StateError, match="'seed' is 0, and this loader's is 1"):
        resumed(make_loader(3, seed=1), file, log)


@pytest.mark.parametrize("content", [b"", b"no HDF5", None])
def test_a_file_of_something_else_is_refused(file, content):
    model = built_model([])
    if content is None:
        model.save_weights(file)
    else:
        file.write_bytes(content)
    with pytest.raises(hr.StateError, match="must be a file that ResumeTraining has written"):
        resumed(make_loader(3), file, [], model=model)


def test_a_model_without_weights_is_refused(file):
    log = []
    interrupted(make_loader(3), file, 2, log)
    model = recording_model(log)
    if BACKEND == "tensorflow":  # the others build it before fit calls any callback
        with pytest.raises(hr.HeadraceError, match="a model that has no weights yet"):
            resumed(make_loader(3), file, log, model=model)
    else:
        resumed(make_loader(3), file, log, model=model)
        assert log == expected(make_loader(3), 6)


def test_another_model_is_refused(file):
    log = []
    interrupted(make_loader(3), file, 2, log)
    other = keras.Sequential([keras.Input((1,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
    other.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"(layer|variable|model)"):
        resumed(make_loader(3), file, log, model=other)


@pytest.mark.filterwarnings("ignore:Skipping variable loading")
def test_another_optimizer_is_refused(file):
    log = []
    interrupted(make_loader(3), file, 2, log)
    model = built_model(log)
    model.compile("adam", "mse")
    with pytest.raises(hr.StateError, match="2 iterations, but that of the model has 0"):
        resumed(make_loader(3), file, log, model=model)


@pytest.mark.parametrize("same_loader", [True, False])
def test_another_dataset_than_that_of_fit_is_refused(file, same_loader):
    log = []
    interrupted(make_loader(3), file, 2, log)
    loader = make_loader(3)
    other = loader if same_loader else make_loader(3)
    resume = ResumeTraining(other.to_keras(), file)
    with pytest.raises(hr.HeadraceError, match="must get the very dataset that fit trains on"):
        fit(built_model(log), loader.to_keras(), callbacks=[resume])
    file.unlink()
    resume = ResumeTraining(make_loader(3).to_keras(), file)
    with pytest.raises(hr.HeadraceError, match="must get the very dataset that fit trains on"):
        fit(built_model(log), loader.to_keras(), callbacks=[resume])


def test_a_fit_without_it_has_its_usual_length_after_one_that_failed(file):
    log = []
    interrupted(make_loader(5), file, 2, log)
    loader = make_loader(5)
    data, model = loader.to_keras(), built_model(log)

    class Fails(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise Killed

    with pytest.raises(Killed):
        fit(model, data, callbacks=[ResumeTraining(data, file, 1), Fails()])
    log.clear()
    loader.seek(0)
    model._initial_epoch = None
    fit(model, data)
    assert log == expected(loader, 5)
    assert os.listdir(file.parent) == [file.name]
