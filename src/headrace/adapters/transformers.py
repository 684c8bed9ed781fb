"""transformers: a `Trainer` whose datasets are loaders.

The Trainer counts its batches, and says the epoch to what it iterates over. So its checkpoints are
all that it takes to go on, and none holds a state of the loader.
"""

import warnings
from typing import Any

from headrace.adapters.torch import make_data_loader
from headrace.batching.feed import HasFeed, feed_of
from headrace.errors import ArgumentError
from headrace.sampling.order import Sequential


class TakesLoaders:
    """Has a class of Trainers take loaders for datasets, of batches that are dicts.

    A loader gives its own batches, in its own order, to all processes of the Trainer in turn: it is
    made without `rank` and `world_size`. Other datasets are left to the Trainer.

    Example:
        class Trainer(TakesLoaders, transformers.Trainer):
            pass

        trainer = Trainer(model, args, train_dataset=loader, eval_dataset=other_loader)
    """

    # Of the Trainer.
    args: Any
    accelerator: Any
    train_dataset: object
    eval_dataset: Any

    def get_train_dataloader(self) -> Any:
        """As that of the Trainer.

        Raises:
            ArgumentError: (a ValueError) the Trainer was told another batch size, by which it
                counts samples.
        """
        if isinstance(self.train_dataset, HasFeed):
            return self._prepared(self.train_dataset, "train")
        trainer: Any = super()
        return trainer.get_train_dataloader()

    def get_eval_dataloader(self, eval_dataset: object = None) -> Any:
        """As that of the Trainer; raises as `get_train_dataloader` does."""
        found = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(found, str):
            found = self.eval_dataset[found]
        if isinstance(found, HasFeed):
            _warn_of_samples_left_out(found)
            return self._prepared(found, "eval")
        trainer: Any = super()
        return trainer.get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset: object) -> Any:
        """As that of the Trainer; raises as `get_train_dataloader` does."""
        if isinstance(test_dataset, HasFeed):
            _warn_of_samples_left_out(test_dataset)
            if not isinstance(feed_of(test_dataset).sampler.order, Sequential):
                warnings.warn(
                    "the predictions come in the order of the loader, which is not that of its "
                    "source. Use shuffle=False.",
                    stacklevel=3,
                )
            return self._prepared(test_dataset, "eval")
        trainer: Any = super()
        return trainer.get_test_dataloader(test_dataset)

    def _prepared(self, loader: HasFeed, kind: str) -> Any:
        told = getattr(self.args, f"{kind}_batch_size")
        size = feed_of(loader).sampler.batch_size
        if told != size:
            raise ArgumentError(
                f"the Trainer counts samples by per_device_{kind}_batch_size={told}, but the "
                f"loader's batches have {size}. Pass per_device_{kind}_batch_size={size} to "
                "TrainingArguments."
            )
        workers: int = self.args.dataloader_num_workers
        return self.accelerator.prepare(make_data_loader(loader, num_workers=workers))


def _warn_of_samples_left_out(loader: HasFeed) -> None:
    sampler = feed_of(loader).sampler
    left_out = len(sampler.order) % sampler.global_batch_size
    if sampler.tail == "drop" and left_out:
        warnings.warn(
            f"the loader leaves out the last {left_out} of {len(sampler.order)} samples, which "
            "fill no batch. Use tail='partial' to evaluate all.",
            stacklevel=4,
        )
