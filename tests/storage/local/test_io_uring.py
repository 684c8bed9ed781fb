"""Files read together, in one system call, are what they are when read one by one."""

import errno
import gc
import os
import pickle
import shutil
import signal
import textwrap
import timeit
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from at_once import at_once
from other_python import run_script

import headrace as hr
from headrace.storage import Folder, Request
from headrace.storage.local import folder as folder_module
from headrace.storage.local import io_uring

N = 300
SHAPE = (6, 5)

pytestmark = pytest.mark.skipif(
    io_uring.ring_of_thread() is None, reason="this system has no io_uring, or forbids it"
)


@pytest.fixture
def folder(tmp_path):
    for i in range(N):
        np.save(tmp_path / f"{i}.npy", sample(i))
    return tmp_path


@pytest.fixture
def files(folder):
    return hr.NpyFiles(folder, ids=range(N))


def sample(i):
    return np.arange(30, dtype=np.float32).reshape(SHAPE) + np.float32(100 * i)


def read(files, indices):
    out = np.full((len(indices), *SHAPE), -1, np.float32)
    files.read(np.asarray(indices, np.int64), out)
    return out


def assert_right(files, indices):
    expected = np.stack([sample(i) for i in indices])
    assert (read(files, indices) == expected).all()


@pytest.fixture
def rings_used(monkeypatch):
    """The lengths of the batches that go through a ring."""
    used = []
    together = Folder._read_rows_together

    def noted(self, ring, names, starts, head, rows):
        used.append(len(rows))
        return together(self, ring, names, starts, head, rows)

    monkeypatch.setattr(Folder, "_read_rows_together", noted)
    return used


def test_batches_of_any_length_are_right(files, rings_used):
    rng = np.random.default_rng(0)
    lengths = [1, 15, 16, 17, 127, 128, 129, 256, 300, 1000]
    for length in lengths * 3:  # around the end of the queues, too
        assert_right(files, rng.integers(N, size=length))
    assert rings_used == [length for length in lengths if length >= 16] * 3


def test_large_samples_are_read_in_several_calls(files, monkeypatch):
    monkeypatch.setattr(folder_module, "_MOST_BYTES_OF_ROWS", 1000)
    assert_right(files, range(40))


def test_files_of_other_layouts_are_found_among_the_others(folder, files):
    np.save(folder / "3.npy", sample(3).astype(">f4"))
    np.save(folder / "7.npy", np.asfortranarray(sample(7)))
    np.save(folder / "150.npy", sample(150).reshape(6, 1, 5))
    with open(folder / "200.npy", "wb") as file:
        np.lib.format.write_array(file, sample(200), version=(3, 0))
    assert_right(files, range(N))


@pytest.mark.parametrize("bad", [0, 20, 299])
def test_a_missing_file_is_named(folder, files, bad):
    (folder / f"{bad}.npy").unlink()
    with pytest.raises(hr.SampleNotFoundError, match=rf"sample {bad} does not exist") as caught:
        read(files, range(N))
    assert caught.value.index == bad
    assert_right(files, range(30, 60))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[:-1], "it ends after"),
        (lambda data: data[:40], "ends"),
        (lambda data: b"", "ends|empty"),
        (lambda data: b"?" * len(data), "not a .npy file|magic|begin"),
    ],
    ids=["cut short", "cut in the header", "emptied", "overwritten"],
)
def test_a_damaged_file_is_named(folder, files, damage, said):
    path = folder / "77.npy"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(hr.SampleFormatError, match=said) as caught:
        read(files, range(N))
    assert caught.value.index == 77
    assert str(path) in str(caught.value)
    assert_right(files, [i for i in range(N) if i != 77])


def test_a_file_that_may_not_be_read_is_named(folder, files):
    (folder / "9.npy").unlink()
    (folder / "9.npy").mkdir()
    with pytest.raises(hr.StorageError) as caught:
        read(files, range(64))
    assert caught.value.errno == errno.EISDIR
    assert "sample 9" in "".join(caught.value.__notes__)


def test_a_folder_that_is_gone_is_told(folder, files):
    shutil.rmtree(folder)
    with pytest.raises(hr.SampleNotFoundError):
        read(files, range(64))


def test_a_folder_that_was_moved_and_replaced_is_read_anew(folder, files):
    assert_right(files, range(64))
    folder.rename(folder.with_name("before"))
    folder.mkdir()
    for i in range(64):
        np.save(folder / f"{i}.npy", sample(i) + 1)
    assert (read(files, range(64)) == np.stack([sample(i) + 1 for i in range(64)])).all()


def test_threads_may_read_at_once(files):
    def read_often(seed):
        rng = np.random.default_rng(seed)
        for _ in range(30):
            assert_right(files, rng.integers(N, size=rng.integers(16, 200)))

    at_once(read_often, range(6))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
def test_a_forked_child_and_its_parent_read_at_the_same_time(files):
    assert_right(files, range(64))
    child = os.fork()
    if not child:
        status = 1
        try:
            for _ in range(50):
                assert_right(files, range(100, 200))
            status = 0
        finally:
            os._exit(status)
    for _ in range(50):
        assert_right(files, range(64))
    assert os.waitpid(child, 0)[1] == 0
    assert_right(files, range(64))


def of_arrays(folder):
    files = hr.NpyFiles(folder, ids=range(N))
    return lambda indices: assert_right(files, indices)


def of_whole_files(folder):
    storage = Folder(folder)

    def check(indices):
        requests = [Request(f"{i}.npy") for i in indices]
        for position, data in storage.fetch(requests):
            assert bytes(data[-120:]) == sample(indices[position]).tobytes()

    return check


def of_parts(folder):
    (folder / "all").write_bytes(b"".join(sample(i).tobytes() for i in range(N)))
    storage = Folder(folder)

    def check(indices):
        requests = [Request("all", 120 * i, 120 * i + 120) for i in indices]
        for position, data in storage.fetch(requests):
            assert bytes(data) == sample(indices[position]).tobytes()

    return check


@pytest.mark.parametrize("kind", [of_arrays, of_whole_files, of_parts])
def test_interrupted_reads_leave_the_next_ones_right(folder, kind):
    class Interrupted(Exception):
        pass

    reading = False

    def interrupt(_signal, _frame):
        if reading:
            raise Interrupted

    rng = np.random.default_rng(0)
    interruptions = 0
    assert_all_right = kind(folder)
    longest_s = min(timeit.repeat(lambda: assert_all_right(range(200)), number=1, repeat=10))
    before = signal.signal(signal.SIGALRM, interrupt)
    gc.disable()  # or it may interrupt what others have called when garbage is collected
    try:
        for round_ in range(1000):
            indices = rng.integers(N, size=rng.integers(16, 200))
            try:
                reading = True
                # At any moment of a read.
                signal.setitimer(signal.ITIMER_REAL, longest_s * (1 + round_ % 600) / 600)
                assert_all_right(indices)
                reading = False
            except Interrupted:
                reading = False
                interruptions += 1
                if interruptions % 3 == 0:
                    assert_all_right(indices)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    assert interruptions > 100
    assert_all_right(range(N))


def test_what_was_not_begun_is_not_done_later_with_descriptors_of_others(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(bytes(range(200)))
    requests = [Request("file", i, i + 20) for i in range(100)]
    storage = Folder(tmp_path)
    ring = io_uring.ring_of_thread()
    list(storage.fetch(requests))

    def interrupted(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ring, "_call", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(storage.fetch(requests))
    with open(tmp_path / "file", "rb") as file:
        number = file.fileno()  # the one that the interrupted call had
    reader, writer = os.pipe()
    try:
        assert number in (reader, writer)
        os.set_blocking(reader, False)
        os.write(writer, b"for somebody else")
        for position, data in storage.fetch(requests):
            assert data == bytes(range(position, position + 20))
        assert os.read(reader, 100) == b"for somebody else"
    finally:
        os.close(reader)
        os.close(writer)


def run(script, *arguments):
    prelude = "import os, sys\nimport numpy as np\nimport headrace as hr\n"
    done = run_script(prelude + textwrap.dedent(script), *arguments)
    assert done.stderr == ""
    return done.stdout


READ_64 = """
    from headrace.storage import Folder, Request
    from headrace.storage.local import io_uring
    files = hr.NpyFiles(sys.argv[1], ids=range(300))
    def read():
        out = np.empty((64, 6, 5), np.float32)
        files.read(np.arange(64), out)
        assert (out[:, 0, 0] == 100 * np.arange(64)).all()
        print(io_uring.ring_of_thread() is None)
    read()
"""


def test_each_thread_has_a_ring_that_ends_with_it(folder):
    # In a process of its own: here, threads that have one come and go.
    script = """
        import threading
        files = hr.NpyFiles(sys.argv[1], ids=range(64))
        meeting = threading.Barrier(7)

        def read():
            files.read(np.arange(64), np.empty((64, 6, 5), np.float32))
            meeting.wait()
            meeting.wait()

        def open_rings():
            links = []
            for name in os.listdir("/proc/self/fd"):
                try:
                    links.append(os.readlink(f"/proc/self/fd/{name}"))
                except OSError:
                    continue  # that of the listing itself
            return links.count("anon_inode:[io_uring]")

        threads = [threading.Thread(target=read, daemon=True) for _ in range(6)]
        for thread in threads:
            thread.start()
        meeting.wait()
        print(open_rings() >= 6)  # and those of their memory maps
        meeting.wait()
        for thread in threads:
            thread.join()
        print(open_rings())
    """
    assert run(script, folder) == "True\n0\n"


def test_without_io_uring_files_are_read_one_by_one(folder):
    # A ring needs room for 128 files.
    script = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
    assert run(script + textwrap.dedent(READ_64), folder) == "True\n"


def test_a_descriptor_that_something_closed_is_made_again(folder):
    script = READ_64 + "    os.closerange(3, 256)\n    read()\n    read()\n"
    assert run(script, folder) == "False\nFalse\nFalse\n"


def test_a_reader_that_has_used_a_ring_pickles(files):
    assert_right(files, range(64))
    assert_right(pickle.loads(pickle.dumps(files)), range(64))


@pytest.mark.parametrize("held", [False, True], ids=["nobody writes to", "somebody is silent at"])
def test_a_pipe_among_them_is_given_up(folder, files, monkeypatch, held):
    monkeypatch.setattr(io_uring, "_PATIENCE_S", 1)
    (folder / "9.npy").unlink()
    os.mkfifo(folder / "9.npy")
    writer = os.open(folder / "9.npy", os.O_RDWR) if held else None
    try:
        with ThreadPoolExecutor(1) as thread:  # which has a ring of its own
            with pytest.raises(hr.StorageError, match=r"9\.npy.*it is a named pipe") as caught:
                thread.submit(read, files, range(64)).result()
            assert "sample 9" in "".join(caught.value.__notes__)
            others = [i for i in range(N) if i != 9]
            thread.submit(assert_right, files, others).result()
            assert thread.submit(lambda: io_uring.ring_of_thread() is not None).result()
    finally:
        if writer is not None:
            os.close(writer)
