"""Packing: a reader's samples rewritten to be read fast. One contract for all: `Target`."""

from headrace.packing.pack import Packed, pack
from headrace.packing.target import Shape, parts_of

__all__ = ["Packed", "Shape", "pack", "parts_of"]
