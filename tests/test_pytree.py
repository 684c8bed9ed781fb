"""Nested tuples and dicts: leaves in order, names that lead to them, types that stay."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.pytree import leaves, map_leaves, named_leaves, nbytes


class Pair(NamedTuple):
    image: Any
    label: Any


STRUCTURES = st.recursive(
    st.integers() | st.lists(st.integers()) | st.none(),
    lambda parts: (
        st.lists(parts, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), parts, max_size=3)
        | st.builds(Pair, parts, parts)
    ),
    max_leaves=12,
)


def at(structure, name):
    """What the subscripts in `name` lead to."""
    return eval(f"structure{name}", {"structure": structure})


@pytest.mark.parametrize(
    ("structure", "expected"),
    [
        (5, [("", 5)]),
        ((1, 2), [("[0]", 1), ("[1]", 2)]),
        ({"b": 1, "a": 2}, [("['b']", 1), ("['a']", 2)]),
        (({"x": 1}, (2, 3)), [("[0]['x']", 1), ("[1][0]", 2), ("[1][1]", 3)]),
        (Pair(1, (2,)), [("[0]", 1), ("[1][0]", 2)]),
        ([1, (2,)], [("", [1, (2,)])]),
        ("ab", [("", "ab")]),
        (None, [("", None)]),
        ((), []),
        ({"a": {}, "b": ((), 1)}, [("['b'][1]", 1)]),
    ],
    ids=repr,
)
def test_leaves_come_in_order_with_the_subscripts_that_lead_to_them(structure, expected):
    assert list(named_leaves(structure)) == expected
    assert list(leaves(structure)) == [leaf for _, leaf in expected]


def test_names_begin_with_the_given_one():
    assert [name for name, _ in named_leaves(({"x": 1}, 2), "source")] == [
        "source[0]['x']",
        "source[1]",
    ]


@given(STRUCTURES)
@settings(max_examples=100, deadline=None)
def test_names_lead_to_their_leaves(structure):
    for name, leaf in named_leaves(structure):
        assert at(structure, name) is leaf


@given(STRUCTURES)
@settings(max_examples=100, deadline=None)
def test_map_keeps_the_structure_and_replaces_each_leaf_once(structure):
    seen = []
    mapped = map_leaves(lambda leaf: seen.append(leaf) or leaf, structure)
    assert mapped == structure
    assert repr(mapped) == repr(structure)  # types too
    assert [id(leaf) for leaf in seen] == [id(leaf) for leaf in leaves(structure)]


@given(STRUCTURES)
@settings(max_examples=100, deadline=None)
def test_map_pairs_leaves_with_those_of_the_others(structure):
    numbers = iter(range(100))
    first = map_leaves(lambda leaf: next(numbers), structure)
    second = map_leaves(lambda number: -number, first)
    pairs = map_leaves(lambda *numbers: list(numbers), first, second, first)
    assert list(leaves(pairs)) == [[n, -n, n] for n in range(len(list(leaves(structure))))]


def test_map_pairs_dicts_by_key_in_the_order_of_the_first():
    mapped = map_leaves(lambda a, b: (a, b), {"x": 1, "y": 2}, {"y": 20, "x": 10})
    assert mapped == {"x": (1, 10), "y": (2, 20)}
    assert list(mapped) == ["x", "y"]


def test_map_makes_new_containers():
    structure = {"x": (1, {"y": 2})}
    mapped = map_leaves(lambda leaf: leaf, structure)
    mapped["x"][1]["y"] = 3
    assert structure == {"x": (1, {"y": 2})}


def test_nbytes_adds_up_the_leaves_that_know_theirs():
    x = np.zeros((2, 3), np.float32)
    assert nbytes(x) == 24
    assert nbytes({"x": x, "y": (x, x[:1])}) == 24 + 24 + 12
    assert nbytes((x, None, "text", 5, [x])) == 24
    assert nbytes(()) == 0
