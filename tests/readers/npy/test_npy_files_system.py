"""NpyFiles: files are open one at a time, and none when it has read, also where that fails."""

import os
import subprocess
import sys

import numpy as np
import pytest
from process_table import needs_proc, open_files
from reading import read

import headrace as hr

READ_WITHOUT_FILES = """
import errno, os, resource, sys
import numpy as np
from headrace.readers import NpyFiles

reader = NpyFiles(sys.argv[1])
out = np.empty((3, 3))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
opened = []
try:
    while True:
        opened.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
try:
    reader.read(np.array([1, 0, 2]), out)
except OSError as error:
    said = "\\n".join([str(error), *error.__notes__])
    assert error.errno == errno.EMFILE, error
    assert "sample 1" in said and os.path.join(sys.argv[1], "b.npy") in said, said
else:
    raise AssertionError("it has read without a file descriptor")
os.close(opened.pop())
reader.read(np.array([1, 0, 2]), out)  # one descriptor at a time is enough
assert not out.any()
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of open files are POSIX's")
def test_too_many_open_files(tmp_path):
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", np.zeros(3))
    command = [sys.executable, "-c", READ_WITHOUT_FILES, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@needs_proc
def test_read_leaves_no_file_open(tmp_path):
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", np.zeros(3))
    (tmp_path / "3.npy").write_bytes(b"damaged")
    reader = hr.NpyFiles(tmp_path)
    read(reader, [0, 1, 2])
    with pytest.raises(hr.SampleFormatError):
        read(reader, [0, 3])
    assert open_files(tmp_path) == []
