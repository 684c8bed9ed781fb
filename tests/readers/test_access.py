"""What readers may have besides the contract, asked for in one place."""

import dataclasses

import numpy as np
import pytest

import headrace as hr
from headrace.readers.access import (
    Access,
    access_of,
    fingerprint_of,
    ids_of,
    part_readers_of,
    read_windows_of,
)
from headrace.readers.source import readers_of


class Bare:
    """A third party's reader: three members."""

    spec = hr.Spec((2,), np.dtype("f4"))

    def __len__(self):
        return 5

    def read(self, indices, out):
        out[...] = indices[:, None]


class Full(Bare):
    in_memory = True
    block = 4
    blocks_kept = 2
    ids = ("a", "b", "c", "d", "e")

    def fingerprint(self):
        return "of mine"


def test_a_reader_of_three_members_has_the_usual_of_all():
    assert access_of(Bare()) == Access(in_memory=False, block=1, blocks_kept=0)
    assert fingerprint_of(Bare()) == ""
    assert ids_of(Bare()) is None
    bare = Bare()
    assert part_readers_of(bare) is bare
    assert read_windows_of(bare) is None
    with hr.Loader(Bare(), batch_size=5, shuffle=False) as loader:
        assert loader.batch(0, 0)[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_what_a_reader_has_is_what_it_says():
    assert access_of(Full()) == Access(in_memory=True, block=4, blocks_kept=2)
    assert fingerprint_of(Full()) == "of mine"
    assert fingerprint_of(Full) == ""


@pytest.mark.parametrize("fingerprint", ["mine", lambda: 7], ids=["no method", "no text"])
def test_a_fingerprint_that_is_none_is_refused(fingerprint):
    def double(sample):
        return 2 * sample

    double.fingerprint = fingerprint
    with pytest.raises(hr.ArgumentTypeError, match=r"^fingerprint of a function must be a method"):
        hr.Cached(np.arange(3), map=double).fingerprint()
    assert ids_of(Full())[3] == "d"


def test_a_block_has_a_sample_at_least():
    reader = Full()
    reader.block = 0
    assert access_of(reader).block == 1


def test_an_access_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Access().block = 2


def test_an_access_may_be_said_at_once():
    reader = Full()
    reader.access = Access(block=7, block_cost=9.5, blocks_aligned=False)
    assert access_of(reader) is reader.access
    assert reader.access.cost == 9.5
    assert Access(block=7).cost == 7
    reader.access = "a member of its own"
    assert access_of(reader).block == 4


def test_a_reader_of_several_parts_may_name_a_reader_of_each():
    class Pairs(Bare):
        spec = (Bare.spec, Bare.spec)
        part_readers = (Bare(), Full())

    first, second = readers_of(Pairs())
    assert (type(first), type(second)) == (Bare, Full)
    x, y = hr.Loader({"pair": Pairs()}, batch_size=5, shuffle=False).batch(0, 0)["pair"]
    assert x.tolist() == y.tolist() == [[i, i] for i in range(5)]
