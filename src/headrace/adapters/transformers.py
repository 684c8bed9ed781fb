"""transformers: a `Trainer` whose datasets are loaders.

The Trainer counts its batches, and says the epoch to what it iterates over. So its checkpoints are
all that it takes to go on, and none holds a state of the loader.
"""

import warnings
from typing import Any

from headrace.adapters.torch import make_data_loader
from headrace.batching.feed import HasFeed, feed_of
from headrace.errors import ArgumentError
from headrace.sampling.order import BatchedOrder, Sequential


class TakesLoaders:
    """Has a class of Trainers take loaders for datasets, of batches that are dicts.

    A loader gives its own batches, in its own order, to all processes of the Trainer in turn: it is
    made without `rank` and `world_size`. One to train on may be made with those of the process, and
    must be in several processes with `shuffle=hr.Buckets(...)`: it then gives the batches of that
    rank. Other datasets are left to the Trainer.

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
                counts samples; or the loader is of another rank than this process.
        """
        if isinstance(self.train_dataset, HasFeed):
            if feed_of(self.train_dataset).sampler.left_out:
                warnings.warn(
                    "the Trainer counts the steps that the loader leaves out (skip=) as if they "
                    "were there. From a checkpoint of a later epoch, it trains on as many batches "
                    "once more.",
                    stacklevel=2,
                )
            if feed_of(self.train_dataset).sampler.world_size > 1:
                return self._prepared_of_rank(self.train_dataset)
            remedy = "Make it with rank= and world_size= of the process, as of headrace.world()."
            return self._prepared(self.train_dataset, "train", remedy)
        trainer: Any = super()
        return trainer.get_train_dataloader()

    def get_eval_dataloader(self, eval_dataset: object = None) -> Any:
        """As that of the Trainer; raises as `get_train_dataloader` does."""
        found = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(found, str):
            found = self.eval_dataset[found]
        if isinstance(found, HasFeed):
            self._warn_of_samples_left_out(found)
            return self._prepared(found, "eval", "Use shuffle=False.")
        trainer: Any = super()
        return trainer.get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset: object) -> Any:
        """As that of the Trainer; raises as `get_train_dataloader` does."""
        if isinstance(test_dataset, HasFeed):
            self._warn_of_samples_left_out(test_dataset)
            if not isinstance(feed_of(test_dataset).sampler.order, Sequential):
                warnings.warn(
                    "the predictions come in the order of the loader, which is not that of its "
                    "source. Use shuffle=False.",
                    stacklevel=3,
                )
            return self._prepared(test_dataset, "eval", "Use shuffle=False.")
        trainer: Any = super()
        return trainer.get_test_dataloader(test_dataset)

    def _prepared(self, loader: HasFeed, kind: str, remedy: str) -> object:
        """The loader whose batches are shared out over the processes.

        Args:
            remedy: for one whose batches are of several sizes.
        """
        processes = self.accelerator.num_processes
        if processes > 1 and isinstance(feed_of(loader).sampler.order, BatchedOrder):
            raise ArgumentError(
                f"the Trainer can't share the batches of {loader!r} out over its {processes} "
                f"processes, as they are of several sizes. {remedy}"
            )
        return self.accelerator.prepare(self._data_loader(loader, kind))

    def _prepared_of_rank(self, loader: HasFeed) -> object:
        """As the accelerator prepares it, but that nothing is shared out once more."""
        from accelerate.data_loader import prepare_data_loader

        sampler, accelerator = feed_of(loader).sampler, self.accelerator
        rank, processes = accelerator.process_index, accelerator.num_processes
        if (sampler.rank, sampler.world_size) != (rank, processes):
            raise ArgumentError(
                f"the loader's batches are those of rank {sampler.rank} of {sampler.world_size}, "
                f"but this process has rank {rank} of {processes}. Make it without rank= and "
                "world_size=, or with those of the process, which headrace.world() knows."
            )
        data_loader = self._data_loader(loader, "train")
        return prepare_data_loader(
            data_loader, accelerator.device, num_processes=1, process_index=0, put_on_device=True
        )

    def _data_loader(self, loader: HasFeed, kind: str) -> object:
        told = getattr(self.args, f"{kind}_batch_size")
        size = feed_of(loader).sampler.batch_size
        if told != size:
            raise ArgumentError(
                f"the Trainer counts samples by per_device_{kind}_batch_size={told}, but the "
                f"loader's batches have {size}. Pass per_device_{kind}_batch_size={size} to "
                "TrainingArguments."
            )
        workers: int = self.args.dataloader_num_workers
        return make_data_loader(loader, num_workers=workers)

    def _warn_of_samples_left_out(self, loader: HasFeed) -> None:
        sampler, accelerator = feed_of(loader).sampler, self.accelerator
        processes = 1 if accelerator.split_batches else accelerator.num_processes
        left_out = len(sampler.order) % (sampler.global_batch_size * processes)
        if sampler.tail == "drop" and left_out:
            warnings.warn(
                f"the Trainer leaves out the last {left_out} of {len(sampler.order)} samples of "
                "the loader, which fill no batch of all its processes. Use tail='partial' to "
                "evaluate all.",
                stacklevel=4,
            )
