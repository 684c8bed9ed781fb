"""What every adapter does with a loader, as tests."""

import itertools

import in_workers
import numpy as np
import pytest
from batch_bytes import as_bytes

import headrace as hr


class AdapterContract:
    """Of batches in the order of the loader. What is delivered counts, and is the consumer's."""

    def adapted(self, loader):
        """What the adapter gives."""
        raise NotImplementedError

    def test_a_batch_counts_once_it_is_delivered(self):
        source = np.arange(26, dtype="float32"), np.arange(26, dtype="int32")
        loader = hr.Loader(source, 4, seed=2, tail="partial")
        expected = [as_bytes(loader.batch(*at)) for at in itertools.product(range(3), range(7))]
        batches, seen = self.adapted(loader), []
        for step, batch in enumerate(itertools.islice(batches, 3)):
            seen.append(as_bytes(batch))
            assert loader.place == loader.sampler.after(loader.sampler.place(0, step))
        assert loader.place == (0, 12)
        state = loader.state_dict()
        loader.load_state_dict(state)
        seen += [as_bytes(batch) for batch in batches]
        assert (seen, loader.place) == (expected[:7], (1, 0))
        next(iter(batches))  # a pass that is left is over
        assert [as_bytes(batch) for batch in batches] == expected[14:]
        resumed = hr.Loader(source, 4, seed=2, tail="partial")
        resumed.load_state_dict(state)
        assert [as_bytes(batch) for batch in self.adapted(resumed)] == expected[3:7]

    def test_a_failure_comes_at_its_turn_and_is_named(self, tmp_path):
        for i in range(8):
            np.save(tmp_path / f"{i}.npy", np.full(2, i))
        files = hr.NpyFiles(tmp_path, ids=range(8))
        (tmp_path / "5.npy").unlink()
        loader = hr.Loader(files, batch_size=2, shuffle=False)
        batches = iter(self.adapted(loader))
        assert [next(batches).tolist() for _ in range(2)] == [[[0, 0], [1, 1]], [[2, 2], [3, 3]]]
        with pytest.raises(FileNotFoundError, match="sample 5 does not exist") as failure:
            next(batches)
        told = str(failure.value) + "".join(getattr(failure.value, "__notes__", []))
        assert "epoch 0, step 2" in told
        assert loader.place == (0, 4)

    def test_moving_the_loader_within_an_iteration_is_refused(self):
        loader = hr.Loader(np.arange(12), batch_size=2)
        batches = iter(self.adapted(loader))
        next(batches)
        loader.seek(3)
        with pytest.raises(hr.LoaderMovedError):
            next(batches)
        assert loader.place == (3, 0)

    def test_strings_stay_arrays_of_numpy(self):
        loader = hr.Loader((np.arange(4), np.array(list("abcd"))), batch_size=2, shuffle=False)
        numbers, names = next(iter(self.adapted(loader)))
        assert (numbers.tolist(), names.tolist()) == ([0, 1], ["a", "b"])
        assert isinstance(names, np.ndarray)

    def test_batches_that_are_kept_are_never_written_again(self):
        # A framework may share their memory, so that a reused buffer would change them later.
        x = np.repeat(np.arange(64, dtype="float32")[:, None], 20_000, axis=1)
        loader = hr.Loader(x, batch_size=8, seed=2, executor=hr.Threads(2))
        kept = []
        for epoch in range(6):
            for step, batch in enumerate(self.adapted(loader)):
                kept.append((loader.indices(epoch, step), batch if step % 2 else batch[3:]))
                if step % 3:
                    kept.pop(step % len(kept))  # its memory may be used again
        for indices, rows in kept:
            assert (np.asarray(rows) == indices[-len(rows) :, None]).all()

    def test_batches_of_a_mixture_with_their_indices_and_without_some_steps(self):
        source = hr.Concat(np.arange(30), np.arange(100, 110))
        options = {"shuffle": hr.Mix([3, 1]), "with_indices": True, "skip": [(0, 2, 3), (1, 0, 0)]}
        loader = hr.Loader(source, 4, **options)
        batches = self.adapted(loader)
        seen = [[part.tolist() for part in batch] for _ in range(3) for batch in batches]
        at = itertools.product(range(3), range(10))
        left = [each for each in at if each not in {(0, 2), (0, 3), (1, 0)}]
        assert seen == [[part.tolist() for part in loader.batch(*each)] for each in left]
        assert loader.place == (3, 0)


class MemoryContract:
    """Of an adapter whose arrays have the memory of the batch, and no copy of it."""

    def adapted(self, loader):
        """What the adapter gives."""
        raise NotImplementedError

    def converted(self, array):
        """As the framework makes one of its own of numpy's."""
        raise NotImplementedError

    def address(self, converted):
        raise NotImplementedError

    def test_the_memory_of_a_batch_is_taken_over(self):
        made = []
        loader = hr.Loader(
            np.zeros((8, 1024), "float32"),
            batch_size=4,
            transform=lambda batch, rng: made.append(batch) or batch,
            executor=hr.Inline(),
        )
        batch = next(iter(self.adapted(loader)))
        assert self.address(batch) == made[0].ctypes.data

    def test_arrays_in_memory_that_processes_share_are_never_written_again(self):
        executor = hr.Processes(2)
        kept = []
        for key, batch in enumerate(executor.map(in_workers.batch, range(100))):
            array = self.converted(batch)
            assert self.address(array) == batch.ctypes.data
            if key % 3 == 0:
                kept.append((key, array[7:] if key % 2 else array))
            del batch, array
            if key == 80:
                kept = kept[::2]  # the memory of the others may be used again
        executor.close()
        for key, array in kept:
            assert (np.asarray(array) == in_workers.batch(key)[7 * (key % 2) :]).all()
