"""Samples of any length in a folder with two .npy files: their values, and their offsets."""

import os
from typing import Literal

import numpy as np

from headrace.arrays import Array
from headrace.errors import ArgumentError, bad_value
from headrace.readers.npy.decoder import check_size
from headrace.readers.npy.header import parse_header, read_header
from headrace.readers.ragged_array import RaggedArray
from headrace.readers.shared.format_error import bad_file, opening
from headrace.storage.local.regular import opener
from headrace.storage.opening import is_url

VALUES, OFFSETS = "values.npy", "offsets.npy"


def open_ragged_folder(path: str) -> RaggedArray:
    """The samples in a folder, memory-mapped.

    Raises:
        ArgumentError: (a ValueError) it is not on this machine.
        SampleNotFoundError: (a FileNotFoundError) one of the files is not there.
        SampleFormatError: (a ValueError) one is damaged, or they do not fit together.
        StorageError: (an OSError) one can't be read.
    """
    if is_url(path):
        raise bad_value("path", path, "a folder of this machine", "Download it first.")
    path = os.path.abspath(path)
    values, offsets = (_mapped(os.path.join(path, name)) for name in (VALUES, OFFSETS))
    try:
        return RaggedArray(values, offsets)
    except ArgumentError as error:
        raise bad_file(path, error) from None


def _mapped(path: str) -> Array:
    with opening(path), open(path, "rb", buffering=0, opener=opener) as file:
        layout = parse_header(read_header(file))
        check_size(os.fstat(file.fileno()).st_size, layout)
        if not layout.data_nbytes:  # of which there can be no map
            return np.empty(layout.shape, layout.dtype)
        order: Literal["C", "F"] = "F" if layout.fortran_order else "C"
        mapped: Array = np.memmap(
            path, layout.dtype, "r", layout.data_offset_bytes, layout.shape, order
        )
        return mapped
