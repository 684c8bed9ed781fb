"""Samples that are kept, read by workers of a DataLoader."""

import numpy as np
import pytest
from cached_samples import SAMPLES, Logged, N, logged
from reading import read

pytest.importorskip("torch", reason="needs headrace[torch]")

import headrace as hr
from headrace.testing.processes import needs_fork


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_workers_see_one_another_s_samples(tmp_path):
    log = tmp_path / "log"
    cached = hr.Cached(Logged(log))
    options = {"batch_size": 5, "tail": "partial", "seed": 3}
    expected = hr.Loader(SAMPLES, **options)
    batches = hr.Loader(cached, **options).to_torch(num_workers=2, multiprocessing_context="fork")
    for _ in range(2):
        for batch, other in zip(batches, expected, strict=True):
            assert np.array_equal(batch.numpy(), other)
    assert set(logged(log)) == set(range(N))
    before = logged(log)
    assert np.array_equal(read(cached), SAMPLES)
    assert logged(log) == before
    assert cached.stats().kept == N
