"""What every format does with what is amiss in a folder; also formats that are yet to be added."""

import shutil

import numpy as np
import pytest
from written import WRITTEN, N

import headrace as hr


def written(folder, format_name):
    """Six samples in the format, below the folder: their path, and the options to open it."""
    write, _, options = WRITTEN[format_name]
    return folder / write(folder), options


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.fault("a name that begins with `.`", "passed over", "folders of files")
def test_hidden_names(tmp_path, format_name):
    _, options = written(tmp_path, format_name)
    first, *_ = files_of(tmp_path)
    shutil.copy(first, first.with_name(f".{first.name}"))
    (tmp_path / ".cache").mkdir()
    shutil.copy(first, tmp_path / ".cache" / first.name)
    reader = hr.open(tmp_path, format=format_name, **options)
    assert len(reader) == N
    assert hr.Loader(reader, N, shuffle=False).indices(0, 0).tolist() == np.arange(N).tolist()
