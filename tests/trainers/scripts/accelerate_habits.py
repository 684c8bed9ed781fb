"""What Accelerate's users do with loaders, in this process or in several, over gloo.

accelerate_habits.py FOLDER, which the processes share, and write what each has seen to.
"""

import itertools
import json
import sys
import warnings
from pathlib import Path

import torch
from accelerate import Accelerator, DataLoaderConfiguration, PartialState
from gloo_end import end
from numbered import BUCKETS, SAMPLINGS, loader_of, seen

import headrace as hr

TRAINING = {
    "default": {},
    "workers": {"num_workers": 2, "persistent_workers": True},
    "split_batches": {"split_batches": True},
    "split_batches, workers": {
        "split_batches": True,
        "num_workers": 1,
        "persistent_workers": True,
    },
    "dispatch_batches": {"dispatch_batches": True},
    "dispatch_batches, split_batches": {"dispatch_batches": True, "split_batches": True},
    "even_batches=False": {"even_batches": False},
    "use_seedable_sampler": {"use_seedable_sampler": True},
    "use_stateful_dataloader": {"use_stateful_dataloader": True},
    "use_stateful_dataloader, workers": {"use_stateful_dataloader": True, "num_workers": 2},
}
EVALUATION = {
    "default": {},
    "workers": {"num_workers": 2},
    "split_batches": {"split_batches": True},
    "dispatch_batches": {"dispatch_batches": True},
}
RESUMING = {
    "skip_first_batches": {},
    "skip_first_batches, workers": {"num_workers": 2},
    "skip_first_batches, split_batches": {"split_batches": True},
    "skip_first_batches, dispatch_batches": {"dispatch_batches": True},
    "use_stateful_dataloader": {"use_stateful_dataloader": True},
    "use_stateful_dataloader, workers": {"use_stateful_dataloader": True, "num_workers": 2},
}
STOP = 2


def prepared(loader, num_workers=0, persistent_workers=False, **configuration):
    accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(**configuration))
    batches = loader.to_torch(num_workers=num_workers, persistent_workers=persistent_workers)
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return accelerator, *accelerator.prepare(batches, model, optimizer)


def training(options, **loader_options):
    _, batches, _, _ = prepared(loader_of(**loader_options), **options)
    return [seen(batches) for _ in range(2)], len(batches)


def evaluation(options, **loader_options):
    loader = loader_of(**{"shuffle": False, **loader_options})
    accelerator, batches, _, _ = prepared(loader, **options)

    def once():
        for number, *_ in batches:
            yield from accelerator.gather_for_metrics(number).tolist()

    return [list(once()) for _ in range(2)]


def peek():
    _, batches, _, _ = prepared(loader_of())
    return [seen([next(iter(batches))]), seen(batches)]


def early_stop():
    _, batches, _, _ = prepared(loader_of())
    epochs = []
    for epoch in range(3):
        batches.set_epoch(epoch)
        epochs.append(seen(itertools.islice(batches, 2)))
    return epochs


def resuming(folder, options, stop):
    """Trains, is stopped after `stop` batches of epoch 1 or all, and goes on to epoch 2's end."""
    stateful = options.get("use_stateful_dataloader", False)
    accelerator, batches, model, optimizer = prepared(loader_of(), **options)
    stop = stop or len(batches)
    before = []
    for epoch in range(2):
        batches.set_epoch(epoch)
        count = stop if epoch else None
        for number, noise in itertools.islice(batches, count):
            before += seen([(number, noise)])
            loss = model(noise[:, None].float()).square().mean()
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            if epoch and len(before) == len(batches) + stop:
                accelerator.save_state(folder)
    accelerator, batches, model, optimizer = prepared(loader_of(), **options)
    accelerator.wait_for_everyone()  # the first process has saved
    accelerator.load_state(folder)
    after = []
    for epoch in range(1 if stop < len(batches) else 2, 3):
        batches.set_epoch(epoch)
        rest = batches
        if epoch == 1 and not stateful:
            # It takes one of each process at every step, and skips them one by one.
            each = accelerator.num_processes if "dispatch_batches" in options else 1
            rest = accelerator.skip_first_batches(batches, stop * each)
        after.append(seen(rest))
    return before, after


def loaded_before(steps):
    """A loader that was moved by its own state, of after so many steps, before it was prepared."""
    stopped = loader_of()
    stopped.seek(1, steps * PartialState().num_processes)
    loader = loader_of()
    loader.load_state_dict(stopped.state_dict())
    _, batches, _, _ = prepared(loader)
    return [seen(batches) for _ in range(2)]


def forgotten_epoch(folder):
    """With the epoch left to Accelerate, which counts from 0 after it was loaded."""
    options = {"use_stateful_dataloader": True}
    accelerator, batches, _, _ = prepared(loader_of(), **options)
    seen(batches)
    iteration = iter(batches)
    next(iteration)
    accelerator.save_state(folder)
    iteration.close()
    accelerator, batches, _, _ = prepared(loader_of(), **options)
    accelerator.wait_for_everyone()  # the first process has saved
    accelerator.load_state(folder)
    try:
        for _ in range(2):
            seen(batches)
    except hr.StateError as error:
        return str(error)
    return "no error"


def registered(folder):
    """A loader that Accelerate prepared, whose state would be another's."""
    loader = loader_of()
    accelerator, batches, _, _ = prepared(loader)
    accelerator.register_for_checkpointing(loader)
    for _ in batches:
        try:
            accelerator.save_state(folder)
        except hr.StateError as error:
            return str(error)
    return "no error"


def own_ranks(folder):
    """A loader that knows its rank and isn't prepared; Accelerate saves its state."""

    def started():
        accelerator = Accelerator(cpu=True)
        loader = loader_of(rank=accelerator.process_index, world_size=accelerator.num_processes)
        accelerator.register_for_checkpointing(loader)
        return accelerator, loader, loader.to_torch(device=accelerator.device)

    accelerator, _, batches = started()
    before = seen(batches)
    for batch in batches:
        before += seen([batch])
        accelerator.save_state(folder)
        if len(before) == len(batches) + STOP:
            break
    accelerator, loader, batches = started()
    accelerator.wait_for_everyone()  # the first process has saved
    accelerator.load_state(folder)
    return before, [seen(batches) for _ in range(loader.epoch, 3)]


def prepared_alone(**options):
    """What comes of a loader which is prepared, although it may not be."""
    accelerator = Accelerator(cpu=True)
    loader = loader_of(**options)
    try:
        return seen(accelerator.prepare(loader.to_torch()))
    except hr.ArgumentError as error:
        return str(error)


def main(folder):
    results = {
        "training": {name: training(options) for name, options in TRAINING.items()},
        "uneven": {
            name: training(options, tail="partial")
            for name, options in TRAINING.items()
            if not options.get("dispatch_batches")
        },
        "evaluation": {
            f"{name}, {tail}": evaluation(options, tail=tail)
            for name, options in EVALUATION.items()
            for tail in ("partial", "pad")
        },
        "of other lengths": [
            evaluation({}, tail="partial", shuffle=sampling) for sampling in SAMPLINGS.values()
        ],
        "peek": peek(),
        "early stop": early_stop(),
        "resuming": {
            name: resuming(folder / f"{number}", options, STOP)
            for number, (name, options) in enumerate(RESUMING.items())
        },
        "resuming at the end": {
            name: resuming(folder / f"end-{number}", options, None)
            for number, (name, options) in enumerate(RESUMING.items())
        },
        "loaded before": [loaded_before(steps) for steps in (0, STOP)],
        "forgotten epoch": forgotten_epoch(folder / "forgotten"),
        "registered": registered(folder / "registered"),
        "own ranks": own_ranks(folder / "ranks"),
        "samplings": {
            name: training({}, shuffle=sampling)[0] for name, sampling in SAMPLINGS.items()
        },
        "prepared ranks": prepared_alone(rank=PartialState().process_index, world_size=2),
        "prepared buckets": prepared_alone(shuffle=BUCKETS),
    }
    (folder / f"seen-{PartialState().process_index}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    # Accelerate says that it has no GPU, and PyTorch that there are few CPUs.
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
    if PartialState().num_processes > 1:
        end()
