"""A module that records what Lightning gives it, and trainers for it. Requires Lightning."""

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import BasePredictionWriter, ModelCheckpoint

import headrace as hr

N = 26
LENGTHS = np.arange(N) % 9 + 1
TOKENS = hr.RaggedArray(np.arange(LENGTHS.sum()), np.cumsum([0, *LENGTHS]))
SAMPLED = {
    "Weighted": (np.arange(N), hr.Weighted(np.arange(N))),
    "Balanced": (np.arange(N), hr.Balanced(np.arange(N) % 3, 2, 2)),
    "Mix": (hr.Concat(np.arange(9), np.arange(9, N)), hr.Mix([0.7, 0.3])),
    "Buckets": (TOKENS, hr.Buckets(LENGTHS, [4, 9], batch_sizes=[2, 1])),
}


def make_sampled(name, rank, world_size):
    source, shuffle = SAMPLED[name]
    return hr.Loader(source, 2, seed=1, rank=rank, world_size=world_size, shuffle=shuffle)


def expected_of(loader):
    """The first epoch of a loader, as `listed` has its batches."""
    batches = (loader.batch(0, step) for step in range(len(loader)))
    return [[row.tolist() for row in batch] for batch in batches]


class Recorder(lightning.LightningModule):
    """Keeps what it is given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen, self.validated = [], []
        self.lr = 0.1

    def training_step(self, batch, _index):
        self.seen.append(listed(batch))
        return self.weight * 0

    def validation_step(self, batch, _index):
        self.validated.append(batch.tolist())

    def predict_step(self, batch, _index):
        return batch

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.lr)


def listed(batch):
    if isinstance(batch, dict):
        return {name: listed(part) for name, part in batch.items()}
    return [row.tolist() for row in batch.unbind()]  # it may be jagged


class Writer(BasePredictionWriter):
    """Keeps the numbers that Lightning says the predictions have."""

    def __init__(self, interval="batch_and_epoch"):
        super().__init__(interval)
        self.by_batch, self.by_epoch = [], []

    def write_on_batch_end(self, _trainer, _model, prediction, batch_indices, *_others):
        self.by_batch.append((prediction.tolist(), list(batch_indices)))

    def write_on_epoch_end(self, _trainer, _model, predictions, batch_indices):
        for prediction, indices in zip(predictions, batch_indices[0], strict=True):
            self.by_epoch.append((prediction.tolist(), list(indices)))


def make_trainer(**options):
    """Of two epochs on the CPU, which says nothing and saves nothing but by a callback."""
    defaults = {
        "accelerator": "cpu",
        "max_epochs": 2,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": bool(options.get("callbacks")),
    }
    return lightning.Trainer(**{**defaults, **options})


def saving_every_step(folder):
    return ModelCheckpoint(
        folder, "{step}", every_n_train_steps=1, save_top_k=-1, auto_insert_metric_name=False
    )
