"""What users of transformers.Trainer do with loaders, in this process or in several, over gloo.

transformers_habits.py FOLDER, which the processes share, and write what each has seen to.
"""

import json
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers
from accelerate import PartialState
from gloo_end import end
from numbered import BATCH, BUCKETS, loader_of

import headrace as hr
from headrace.adapters.transformers import TakesLoaders

EPOCHS = 3


class Trainer(TakesLoaders, transformers.Trainer):
    pass


class Recorder(torch.nn.Module):
    """A model that records the batches that it is trained on."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(1, 1)
        self.seen = []

    def forward(self, number, noise, labels):
        if self.training:
            self.seen.append(list(zip(number.tolist(), noise.tolist(), strict=True)))
        made = self.linear(noise[:, None].float())[:, 0]
        # The mean of the numbers is what evaluation of all samples must give.
        return {"loss": (made - made.detach() + labels).mean(), "logits": number}


def named(sample, rng):
    """A sample by name."""
    return {"number": sample, "noise": rng.random(), "labels": np.float32(sample)}


class Stop(transformers.TrainerCallback):
    """Saves after so many steps, and stops."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            control.should_save = control.should_training_stop = True


def trainer_of(folder, stop=None, evaluated=None, of_loader=None, **options):
    arguments = {
        "output_dir": str(folder),
        "use_cpu": True,
        "per_device_train_batch_size": BATCH,
        "per_device_eval_batch_size": BATCH,
        "num_train_epochs": EPOCHS,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_strategy": "no",
        **options,
    }
    return Trainer(
        Recorder(),
        transformers.TrainingArguments(**arguments),
        train_dataset=loader_of(transform=hr.per_sample(named), **(of_loader or {})),
        eval_dataset=evaluated,
        callbacks=[] if stop is None else [Stop(stop)],
        compute_metrics=lambda made: {"numbers": made.predictions.tolist()},
    )


def training(folder, *, peek=False, **options):
    trainer = trainer_of(folder, **options)
    if peek:
        next(iter(trainer.get_train_dataloader()))
    output = trainer.train()
    samples = output.metrics["train_samples_per_second"] * output.metrics["train_runtime"]
    counted = trainer.num_examples(trainer.get_train_dataloader())
    return trainer.model.seen, counted, samples, trainer.state.global_step


def resuming(folder, stop, **options):
    stopped = trainer_of(folder, stop, **options)
    stopped.train()
    stopped.accelerator.wait_for_everyone()  # what the first process saves, all go on from
    resumed = trainer_of(folder, **options)
    resumed.train(resume_from_checkpoint=True)
    return stopped.model.seen, resumed.model.seen


def evaluation(folder):
    """Evaluated during training, and twice after it; then predicted."""
    valid = loader_of(shuffle=False, tail="partial", transform=hr.per_sample(named))
    trainer = trainer_of(
        folder, evaluated={"valid": valid}, eval_strategy="epoch", num_train_epochs=2
    )
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "eval_valid_loss" in entry]
    twice = [trainer.evaluate(valid) for _ in range(2)]
    numbers = [entry["eval_valid_numbers"] for entry in logged]
    numbers += [entry["eval_numbers"] for entry in twice]
    return numbers, trainer.model.seen, trainer.predict(valid).predictions.tolist()


def datasets(folder):
    """Datasets of samples, which the Trainer groups and shuffles itself, collator included."""
    trainer = trainer_of(folder, num_train_epochs=1)
    dataset = loader_of(transform=hr.per_sample(named)).to_torch().dataset
    trainer.train_dataset = dataset
    trainer.train()
    evaluated = trainer.evaluate(dataset)["eval_numbers"]
    return trainer.model.seen, evaluated, trainer.predict(dataset).predictions.tolist()


def refused(folder):
    """A loader of other batches than the Trainer was told, and one to evaluate with a rank."""
    messages = []
    other_size = trainer_of(folder, per_device_train_batch_size=8)
    of_rank = loader_of(rank=0, world_size=2, shuffle=False)
    for get in (
        other_size.get_train_dataloader,
        lambda: trainer_of(folder).get_eval_dataloader(of_rank),
    ):
        try:
            get()
        except hr.ArgumentError as error:
            messages.append(str(error))
    return messages


def buckets(folder):
    """Trained on and resumed by rank; without a rank, what it said; evaluated, or what it said."""
    process = PartialState()
    of_rank = {"rank": process.process_index, "world_size": process.num_processes}
    seen = resuming(folder / "ranks", 12, of_loader={"shuffle": BUCKETS, **of_rank})
    alone = {"shuffle": BUCKETS, "transform": hr.per_sample(named)}
    try:
        training(folder / "alone", of_loader={"shuffle": BUCKETS}, max_steps=1)
        trained = ""
    except hr.ArgumentError as error:
        trained = str(error)
    try:
        evaluated = trainer_of(folder).evaluate(loader_of(tail="partial", **alone))["eval_numbers"]
    except hr.ArgumentError as error:
        evaluated = str(error)
    return *seen, trained, evaluated


def other_rank(folder):
    """A loader of a rank of three, which there are not."""
    trainer = trainer_of(folder, of_loader={"rank": 0, "world_size": 3})
    try:
        trainer.get_train_dataloader()
    except hr.ArgumentError as error:
        return str(error)


def warned(folder):
    """Training with steps left out; predictions of a loader that shuffles and leaves samples out,
    and of one of 13 batches.
    """
    trainer = trainer_of(folder, of_loader={"skip": [(0, 1, 2)]})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.get_train_dataloader()
        trainer.get_test_dataloader(loader_of())
        trainer.get_test_dataloader(hr.Loader(np.arange(52), BATCH, shuffle=False))
    return [str(warning.message) for warning in caught if "loader" in str(warning.message)]


def main(folder):
    steps = 12 // int(os.environ.get("WORLD_SIZE", "1"))
    results = {
        "training": training(folder / "1"),
        "workers": training(folder / "2", dataloader_num_workers=2),
        "peek": training(folder / "13", peek=True),
        "limit": training(folder / "3", max_steps=steps + 3),
        "accumulation": training(folder / "4", gradient_accumulation_steps=4),
        "within": resuming(folder / "5", steps + 2),
        "within, workers": resuming(folder / "6", steps + 2, dataloader_num_workers=1),
        "within, accumulation": resuming(
            folder / "7", steps // 3 + 1, gradient_accumulation_steps=3
        ),
        "end": resuming(folder / "8", 2 * steps),
        "evaluation": evaluation(folder / "9"),
        "datasets": datasets(folder / "12"),
        "refused": refused(folder / "10"),
        "warned": warned(folder / "11"),
        "buckets": buckets(folder / "14"),
        "other rank": other_rank(folder / "15"),
    }
    file = folder / f"seen-{PartialState().process_index}.json"
    file.write_text(json.dumps(results))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
    if PartialState().num_processes > 1:
        end()
