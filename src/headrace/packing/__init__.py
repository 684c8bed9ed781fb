"""Packing: a reader's samples written anew. One file for each format, one contract: `Target`."""

from headrace.packing.pack import Packed, pack
from headrace.packing.target import Shape, parts_of

__all__ = ["Packed", "Shape", "pack", "parts_of"]
