"""Lightning's Trainer in one process: what it saw of each loader, with the habits of its users."""

import logging

import numpy as np
import pytest

import headrace as hr

pytest.importorskip("torch", reason="needs headrace[torch]")
L = pytest.importorskip("lightning", reason="trains with Lightning")

import torch
from lightning.fabric import Fabric
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.tuner import Tuner
from lightning.pytorch.utilities import CombinedLoader
from lightning_recording import Recorder, Writer, listed, make_trainer, saving_every_step

pytestmark = [
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks"),
    pytest.mark.filterwarnings("ignore:You requested to overfit but enabled"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    # What Lightning and its logger call of torch.
    pytest.mark.filterwarnings("ignore::FutureWarning:lightning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning"),
]

N, BATCH, STEPS = 26, 4, 6
HELD_OUT = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def make_train(**options):
    return hr.Loader(np.arange(N), BATCH, **{"seed": 1, **options})


def make_held_out(**options):
    return hr.Loader(np.arange(10), BATCH, **{"shuffle": False, "tail": "partial", **options})


def batches(*places):
    """The numbers in the batches at these epochs and steps."""
    return [make_train().batch(*place).tolist() for place in places]


def epochs(count, steps=STEPS):
    return batches(*((epoch, step) for epoch in range(count) for step in range(steps)))


def fit(train, held_out=None, *, ckpt_path=None, **options):
    """What a model has seen of a training."""
    model = Recorder()
    make_trainer(**options).fit(model, train, held_out, ckpt_path=ckpt_path)
    return model


@pytest.mark.cell("Lightning Trainer", "peek", "evaluation twice")
def test_the_sanity_check_takes_nothing_from_what_follows():
    loader, held_out = make_train(), make_held_out()
    model = fit(loader.to_torch(), held_out.to_torch())
    assert model.seen == epochs(2)
    assert model.validated == HELD_OUT[:2] + 2 * HELD_OUT
    assert loader.place == (2, 0)


@pytest.mark.cell("Lightning Trainer", "peek")
def test_finding_a_learning_rate_leaves_the_training_as_it_is(tmp_path):
    loader = make_train().to_torch()
    trainer = make_trainer(default_root_dir=tmp_path)
    model = Recorder()
    Tuner(trainer).lr_find(model, loader, num_training=9, update_attr=False)
    assert len(model.seen) >= 9
    model.seen.clear()
    trainer.fit(model, loader)
    assert model.seen == epochs(2)


@pytest.mark.cell("Lightning Trainer", "limit")
@pytest.mark.parametrize(("limit", "steps"), [(2, 2), (0.5, 3)])
def test_limited_passes_are_the_beginnings_of_epochs(limit, steps):
    model = fit(
        make_train().to_torch(),
        make_held_out().to_torch(),
        limit_train_batches=limit,
        limit_val_batches=1,
        max_epochs=3,
    )
    assert model.seen == epochs(3, steps)
    assert model.validated == 4 * HELD_OUT[:1]


@pytest.mark.cell("Lightning Trainer", "limit")
def test_overfitting_repeats_the_first_samples():
    model = fit(make_train().to_torch(), overfit_batches=2, max_epochs=3)
    assert model.seen == 3 * HELD_OUT[:2]


@pytest.mark.cell("Lightning Trainer", "early stop")
def test_after_an_early_stop_another_training_begins_with_its_first_epoch():
    loader = make_train().to_torch()
    assert fit(loader, max_steps=8, max_epochs=-1).seen == epochs(2)[:8]
    assert fit(loader, max_epochs=1).seen == epochs(1)


@pytest.mark.cell("Lightning Trainer", "evaluation twice")
@pytest.mark.parametrize("interval", [2, 0.34])
def test_validating_within_an_epoch_leaves_the_training_as_it_is(interval):
    model = fit(
        make_train().to_torch(),
        make_held_out().to_torch(),
        val_check_interval=interval,
        num_sanity_val_steps=0,
    )
    assert model.seen == epochs(2)
    assert model.validated == 6 * HELD_OUT


def test_loaders_may_be_made_anew_in_each_epoch():
    class Reloading(Recorder):
        def train_dataloader(self):
            return make_train().to_torch()

        def val_dataloader(self):
            return make_held_out().to_torch()

    model = Reloading()
    make_trainer(max_epochs=3, reload_dataloaders_every_n_epochs=1).fit(model)
    assert model.seen == epochs(3)
    assert model.validated == HELD_OUT[:2] + 3 * HELD_OUT


@pytest.mark.parametrize("mode", ["min_size", "max_size_cycle", "max_size"])
def test_combined_loaders_give_what_each_would(mode):
    long, short = make_train(), hr.Loader(np.arange(10), 5, seed=2)
    combined = CombinedLoader({"long": long.to_torch(), "short": short.to_torch()}, mode)
    if mode == "max_size":  # it gives None for what has ended
        seen = []
        for batch, _, _ in combined:
            seen.append({name: listed(part) for name, part in batch.items() if part is not None})
        assert [batch["long"] for batch in seen] == epochs(1)
        assert [batch.get("short") for batch in seen] == [
            short.batch(0, 0).tolist(),
            short.batch(0, 1).tolist(),
            *[None] * 4,
        ]
        return
    seen = fit(combined).seen
    steps = 2 if mode == "min_size" else STEPS
    assert [batch["long"] for batch in seen] == epochs(2, steps)
    for first in range(0, 2 * steps, 2):  # each pass over the short one has all of its samples
        assert sorted(seen[first]["short"] + seen[first + 1]["short"]) == list(range(10))


@pytest.mark.cell("Lightning Trainer", "evaluation twice")
def test_predictions_do_not_depend_on_what_was_validated():
    loader, model = make_held_out().to_torch(), Recorder()
    trainer = make_trainer(limit_val_batches=2)
    for _ in range(2):
        trainer.validate(model, loader, verbose=False)
        assert [batch.tolist() for batch in trainer.predict(model, loader)] == HELD_OUT
    assert model.validated == 2 * HELD_OUT[:2]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tail": "drop"},
        {"shuffle": True, "seed": 4},
        {"tail": "drop", "shuffle": hr.Buckets(np.arange(10) % 3, [1, 3], batch_sizes=[4, 2])},
        {"rank": 1, "world_size": 2, "tail": "drop"},
    ],
    ids=str,
)
def test_predictions_come_with_the_numbers_of_their_samples(options):
    loader, writer = make_held_out(**options), Writer()
    make_trainer(callbacks=[writer]).predict(
        Recorder(), loader.to_torch(), return_predictions=False
    )
    numbers = [indices for _, indices in writer.by_batch]
    assert writer.by_batch == writer.by_epoch == [(indices, indices) for indices in numbers]
    if loader.sampler.world_size == 1:  # none is dropped
        assert sorted(number for batch in numbers for number in batch) == list(range(10))
    else:
        assert numbers == [[4, 5, 6, 7], [9]]


class Estimating(Recorder):
    """Asks Lightning for the number of steps, as for a learning rate that depends on it."""

    def configure_optimizers(self):
        self.estimated = self.trainer.estimated_stepping_batches
        return super().configure_optimizers()


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, 2 * STEPS),
        ({"limit_train_batches": 4, "max_epochs": 3}, 12),
        ({"max_steps": 7, "max_epochs": -1}, 7),
    ],
    ids=str,
)
def test_the_estimated_number_of_steps_is_what_is_trained(options, steps):
    model = Estimating()
    make_trainer(**options).fit(model, make_train().to_torch())
    assert model.estimated == len(model.seen) == steps


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of a training of two epochs: at every step, by their number."""
    folder = tmp_path_factory.mktemp("every step")
    every_step = saving_every_step(folder)
    model = fit(make_train().to_torch(), callbacks=[every_step])
    assert model.seen == epochs(2)
    return lambda step: folder / f"{step}.ckpt"


@pytest.mark.cell("Lightning Trainer", "resume within an epoch", "resume at an epoch's end")
@pytest.mark.parametrize("step", [1, 4, 6, 8, 11, 12])
def test_a_checkpoint_of_a_step_goes_on_with_the_next_batch(saved, step):
    model = fit(make_train().to_torch(), ckpt_path=saved(step), max_epochs=3)
    assert model.seen == epochs(3)[step:]


@pytest.mark.xfail(reason="Lightning forgets loaders' states then: its issue 20550", strict=True)
def test_a_checkpoint_goes_on_with_the_next_batch_where_steps_are_estimated(saved):
    model = Estimating()
    make_trainer().fit(model, make_train().to_torch(), ckpt_path=saved(4))
    assert model.seen == epochs(2)[4:]


class Data(L.LightningDataModule):
    """Has the loader's state in the checkpoint by itself."""

    def __init__(self):
        super().__init__()
        self.train = make_train()

    def train_dataloader(self):
        return self.train.to_torch()

    def state_dict(self):
        return self.train.state_dict()

    def load_state_dict(self, state):
        self.train.load_state_dict(state)


@pytest.mark.cell("Lightning Trainer", "resume within an epoch")
@pytest.mark.parametrize("model_class", [Recorder, Estimating])
def test_a_data_module_may_keep_the_state(tmp_path, model_class):
    def train(max_epochs, ckpt_path=None):
        every_step = saving_every_step(tmp_path)
        model = model_class()
        trainer = make_trainer(max_epochs=max_epochs, callbacks=[every_step])
        trainer.fit(model, datamodule=Data(), ckpt_path=ckpt_path)
        return model.seen

    assert train(2) == epochs(2)
    for step in 4, 6, 8:
        assert train(3, tmp_path / f"{step}.ckpt") == epochs(3)[step:]


@pytest.mark.cell("Lightning Trainer", "resume within an epoch")
@pytest.mark.parametrize(
    "make_data",
    [
        pytest.param(
            lambda: {"train_dataloaders": make_train().to_torch()},
            marks=pytest.mark.xfail(reason="Lightning takes its epoch for unbegun", strict=True),
            id="loader",
        ),
        pytest.param(lambda: {"datamodule": Data()}, id="data module"),
    ],
)
def test_a_run_that_went_on_after_the_last_step_of_an_epoch_may_be_stopped_again(
    tmp_path, make_data
):
    def train(max_steps, ckpt_path=None):
        folder = tmp_path / str(max_steps)
        model = Recorder()
        trainer = make_trainer(
            max_epochs=3, max_steps=max_steps, callbacks=[saving_every_step(folder)]
        )
        trainer.fit(model, ckpt_path=ckpt_path, **make_data())
        return model.seen, folder / f"{max_steps}.ckpt"

    _, at_end = train(STEPS)
    _, within = train(STEPS + 2, at_end)
    assert train(-1, within)[0] == epochs(3)[STEPS + 2 :]


@pytest.mark.cell("Lightning Trainer", "resume at an epoch's end")
@pytest.mark.parametrize("limit", [1.0, 3])
@pytest.mark.parametrize("held_out", [True, False], ids=["validating", "not validating"])
def test_a_checkpoint_of_an_epochs_end_goes_on_with_the_next_one(tmp_path, held_out, limit):
    def train(epochs, ckpt_path=None):
        at_end = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, auto_insert_metric_name=False)
        return fit(
            make_train().to_torch(),
            make_held_out().to_torch() if held_out else None,
            max_epochs=epochs,
            limit_train_batches=limit,
            ckpt_path=ckpt_path,
            callbacks=[at_end],
        ).seen

    steps = 3 if limit == 3 else STEPS
    assert train(2) == epochs(2, steps)
    assert train(3, tmp_path / "0.ckpt") == epochs(3, steps)[steps:]
    assert train(3, tmp_path / "1.ckpt") == epochs(3, steps)[2 * steps :]


@pytest.mark.xfail(reason="Lightning tells samplers the next but one epoch then", strict=True)
def test_a_checkpoint_of_an_epochs_end_goes_on_with_the_next_one_to_a_number_of_steps(tmp_path):
    at_end = ModelCheckpoint(tmp_path, "saved")
    assert fit(make_train().to_torch(), max_epochs=1, callbacks=[at_end]).seen == epochs(1)
    model = fit(
        make_train().to_torch(), max_steps=9, max_epochs=-1, ckpt_path=at_end.best_model_path
    )
    assert model.seen == epochs(2)[6:9]


@pytest.mark.cell("Lightning Trainer", "workers", "resume within an epoch")
def test_workers_change_nothing(saved):
    loader = make_train().to_torch(num_workers=2)
    model = fit(loader, make_held_out().to_torch(num_workers=1), max_epochs=1)
    assert model.seen == epochs(1)
    assert model.validated == HELD_OUT[:2] + HELD_OUT
    model = fit(make_train().to_torch(num_workers=2), ckpt_path=saved(4), max_epochs=2)
    assert model.seen == epochs(2)[4:]


@pytest.mark.cell("Lightning Trainer", "resume within an epoch")
def test_a_checkpoint_of_combined_loaders_goes_on_with_the_next_batch_of_each(tmp_path):
    def train(max_epochs, ckpt_path=None):
        short = hr.Loader(np.arange(20), 5, seed=2).to_torch()
        loaders = {"long": make_train().to_torch(), "short": short}
        every_step = saving_every_step(tmp_path)
        options = {"callbacks": [every_step], "max_epochs": max_epochs, "ckpt_path": ckpt_path}
        return fit(CombinedLoader(loaders, "max_size_cycle"), **options).seen

    whole = train(3)
    # The short one begins its second pass of the epoch after 4 of 6 steps.
    for step in 2, 5, 6, 8, 11, 12:
        assert train(3, tmp_path / f"{step}.ckpt") == whole[step:]


def test_a_model_that_a_trainer_makes_loaders_of_keeps_their_device():
    class Own(Recorder):
        def predict_dataloader(self):
            return make_held_out(tail="drop").to_torch(device="cpu")

    trainer = make_trainer()
    for loader in None, make_held_out().to_torch(device="cpu"):
        assert [batch.tolist() for batch in trainer.predict(Own(), loader)] == HELD_OUT
        assert trainer.predict_dataloaders.device == torch.device("cpu")


@pytest.mark.cell("Lightning Fabric", "peek", "resume within an epoch")
@pytest.mark.parametrize("step", [2, 6, 15])
def test_fabric_goes_on_from_a_state_whatever_it_has_iterated_over_before(tmp_path, step):
    fabric = Fabric(accelerator="cpu", devices=1)
    loader = make_train()
    loader.seek(*divmod(step, STEPS))
    fabric.save(tmp_path / "saved", {"data": fabric.setup_dataloaders(loader.to_torch())})
    data = fabric.setup_dataloaders(make_train().to_torch())
    assert [next(iter(data)).tolist() for _ in range(2)] == batches((0, 0), (1, 0))
    fabric.load(tmp_path / "saved", {"data": data})
    went_on = [batch.tolist() for _ in range(3) for batch in data]
    assert went_on == epochs(6)[step : STEPS * (step // STEPS + 3)]
