"""A child can read that was forked while threads of its parent read, and held locks."""

import gc
import os
import signal
import threading

import numpy as np
import pytest
from far_folder import FarFolder
from reading import read

import headrace as hr

X = np.arange(10 * 6, dtype=np.float32).reshape(10, 2, 3)

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]


def hdf5(folder, **options):
    h5py = pytest.importorskip("h5py", reason="needs headrace[hdf5]")
    with h5py.File(folder / "data.h5", "w") as file:
        file.create_dataset("x", data=X, **options)
    return hr.Hdf5(folder / "data.h5", cache_bytes=0)


def zarr(folder, wrap):
    library = pytest.importorskip("zarr", reason="needs headrace[zarr]")
    library.create_array(folder / "x", data=X, chunks=(4, 2, 2), shards=(8, 2, 4))
    return hr.Zarr(wrap(folder / "x"), cache_bytes=0)


def parquet(folder):
    pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
    import pyarrow as pa
    import pyarrow.parquet as pq
    from arrow_arrays import fixed_lists

    pq.write_table(pa.table({"x": fixed_lists(X)}), folder / "x.parquet", row_group_size=4)
    return hr.Parquet(folder, "x", cache_bytes=0)


READERS = {
    "contiguous": hdf5,
    "chunks": lambda folder: hdf5(folder, chunks=(4, 2, 2)),
    "gzip": lambda folder: hdf5(folder, chunks=(4, 2, 2), compression="gzip"),
    "lzf": lambda folder: hdf5(folder, chunks=(4, 2, 3), compression="lzf"),
    "zarr in a folder": lambda folder: zarr(folder, str),
    "zarr in a storage": lambda folder: zarr(folder, FarFolder),
    "parquet": parquet,
}


@pytest.mark.parametrize("make", READERS.values(), ids=READERS)
def test_a_child_forked_while_threads_read_can_read(tmp_path, make):
    # h5py takes its lock before a fork, and asyncio's threads another one. Should one of these drop
    # what other tests have left of h5py while it holds that, each waits for the other for ever.
    gc.collect()
    reader = make(tmp_path)
    done = threading.Event()

    def read_on():
        while not done.is_set():
            assert (read(reader) == X).all()

    threads = [threading.Thread(target=read_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(120)  # which ends it, should it hang
                os._exit(0 if (read(reader) == X).all() else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        done.set()
        for thread in threads:
            thread.join()
