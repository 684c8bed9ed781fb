"""What is used of zarr's private parts is there, and only through one file."""

import asyncio
import pathlib
import re

import pytest

pytest.importorskip("zarr", reason="needs headrace[zarr]")

import headrace.readers.zarr
from headrace.readers.zarr import private


def test_zarr_core_sync_runs_a_coroutine_in_a_loop_that_goes_on():
    async def loop():
        return asyncio.get_running_loop()

    first, second = private.sync(loop()), private.sync(loop())
    assert first is second
    assert first.is_running()


def test_no_other_file_uses_private_parts():
    folder = pathlib.Path(headrace.readers.zarr.__file__).parent
    using = [
        path.name
        for path in folder.glob("*.py")
        if re.search(r"(from|import) zarr\.(core|_)", path.read_text("utf-8"))
    ]
    assert using == ["private.py"]
