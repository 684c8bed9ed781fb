"""Packing: a reader's samples in another format. One file for each, one contract: `Target`."""

from headrace.packing.pack import Packed, pack
from headrace.packing.target import Shape, parts_of

__all__ = ["Packed", "Shape", "pack", "parts_of"]
