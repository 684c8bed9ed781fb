"""Memory that workers share with their consumer: its use, its limits, and its end."""

import os
import subprocess
from pathlib import Path

import in_workers
import pytest
from process_table import names_in_shared_memory, needs_proc

import headrace as hr
from headrace.executors.processes import shared_memory
from headrace.storage.local import anonymous_file

# For what should take milliseconds: only something that hangs takes longer.
DEADLINE = 60


def mapping_of(array):
    """The beginning of the mapping that the array lies in, if workers share it."""
    start = array.ctypes.data
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(part, 16) for part in line.split()[0].split("-"))
        if first <= start and start + array.nbytes <= last and "/memfd:headrace" in line:
            return first
    return None


@needs_proc
def test_a_batch_is_not_copied_and_its_memory_used_again_when_no_view_is_left(two_processes):
    kept, mappings = [], set()
    for key, batch in enumerate(two_processes.map(in_workers.batch_of_16_mb, range(60))):
        mappings.add(mapping_of(batch))
        if key % 12 == 0:
            kept.append((key, batch.reshape(4, -1)[::2]))
    assert None not in mappings
    assert all((view == in_workers.batch_of_16_mb(key)[0]).all() for key, view in kept)
    # Those that are kept; and for each worker, which may at one time have made all that is ahead,
    # the look-ahead of 64 MiB, one in use, one being made, and one that it was not yet told of.
    assert len(mappings) <= 5 + 2 * (4 + 3)


@needs_proc
def test_a_consumer_that_kept_many_batches_gets_shared_memory_again(two_processes):
    kept = list(two_processes.map(in_workers.batch, range(200)))
    # 80 slots for each worker, of which one may be too late to make any.
    assert 80 <= sum(mapping_of(batch) is not None for batch in kept) <= 160
    assert all(batch.tobytes() == in_workers.batch(key).tobytes() for key, batch in enumerate(kept))
    kept.clear()
    list(two_processes.map(in_workers.batch, range(200)))
    again = two_processes.map(in_workers.batch, range(50))
    assert all(mapping_of(batch) is not None for batch in again)


def test_a_consumer_may_keep_all_batches_with_few_descriptors(passes):
    passes("""
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        kept = list(hr.Processes(2).map(in_workers.batch, range(300)))
        assert all(np.array_equal(batch, in_workers.batch(key)) for key, batch in enumerate(kept))
    """)


def test_a_map_goes_wrong_for_the_reason_and_not_because_it_is_closed(passes):
    passes("""
        import resource
        executor = hr.Processes(1)
        assert list(executor.map(str, range(3))) == ["0", "1", "2"]
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        kept = []
        try:
            for batch in executor.map(in_workers.batch, range(100)):
                kept.append(batch)
        except hr.SharedMemoryError as error:
            assert "raise the limit (ulimit -n)" in str(error)
        assert 0 < len(kept) < 40
        del kept, batch
        assert list(executor.map(str, range(3))) == ["0", "1", "2"]
        executor.close()
    """)


@needs_proc
def test_memory_of_a_container_is_what_its_cached_files_do_not_need(tmp_path, monkeypatch):
    monkeypatch.setattr(anonymous_file, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text(f"{300 * 2**20}\n")
    (tmp_path / "memory.current").write_text(f"{290 * 2**20}\n")
    stat = f"anon 1\nactive_file {2**20}\nworkingset_activate_file 5\ninactive_file {100 * 2**20}\n"
    (tmp_path / "memory.stat").write_text(stat)
    shared_memory.check_free(111 * 2**20, "It")
    with pytest.raises(hr.SharedMemoryError, match=f"memory has {111 * 2**20} left"):
        shared_memory.check_free(111 * 2**20 + 1, "It")
    (tmp_path / "memory.max").write_text("max\n")
    shared_memory.check_free(111 * 2**20 + 1, "It")


def test_a_small_shared_memory_folder_is_named(run):
    prefix = ["unshare", "--mount", "sh", "-c",
              'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"', "sh"]  # fmt: skip
    try:
        allowed = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
    except FileNotFoundError:
        allowed = 1
    if allowed != 0:
        pytest.skip("this user may not mount a smaller /dev/shm")
    process = run(
        """
        try:
            next(hr.Processes(2, lookahead_bytes=2**27).map(in_workers.batch, range(3)))
        except hr.SharedMemoryError as error:
            assert "/dev/shm has 67108864 left" in str(error), error
            assert "lookahead_bytes" in str(error) and "--shm-size" in str(error)
        else:
            raise AssertionError
        executor = hr.Processes(2, lookahead_bytes=20 * 2**20)
        for key, batch in enumerate(executor.map(in_workers.batch, range(200))):
            assert np.array_equal(batch, in_workers.batch(key))
        kept = []
        try:
            kept.extend(executor.map(in_workers.batch_of_16_mb, range(10)))
        except hr.SharedMemoryError as error:
            assert "/dev/shm" in str(error)
        else:
            raise AssertionError
        assert kept
        assert all((batch == key).all() for key, batch in enumerate(kept))
        print(os.listdir("/dev/shm"))
        executor.close()
        """,
        top="del os.memfd_create",
        prefix=prefix,
    )
    assert process.communicate(timeout=DEADLINE) == ("[]\n", "")


def test_memory_without_memfd_has_no_name(monkeypatch):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    before = names_in_shared_memory()
    file = shared_memory.create(10_000)
    assert names_in_shared_memory() == before
    one, other = (shared_memory.attach(os.dup(file), 10_000) for _ in range(2))
    os.close(file)
    one[5] = 7
    assert other[5] == 7
