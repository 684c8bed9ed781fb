"""Readers: how a sample is stored. One file for each storage, one contract for all: `Reader`."""

from headrace.readers.array import ArrayReader
from headrace.readers.labels import Labels
from headrace.readers.npy_file import NpyFile
from headrace.readers.npy_files import NpyFiles
from headrace.readers.reader import Reader, Spec

__all__ = ["ArrayReader", "Labels", "NpyFile", "NpyFiles", "Reader", "Spec"]
