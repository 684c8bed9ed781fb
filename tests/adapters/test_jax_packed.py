"""Packed rows in JAX: masks in compiled functions."""

import numpy as np
import pytest
from documents import packed_rows

import headrace as hr

jax = pytest.importorskip("jax", reason="needs headrace[jax]")


@pytest.mark.parametrize("causal", [False, True])
def test_masks_are_those_of_numpy(causal):
    make_mask = jax.jit(hr.segment_mask, static_argnums=1)
    (batch,) = packed_rows().to_jax()
    mask = make_mask(batch["segment_ids"], causal)
    assert mask.dtype == bool
    ids = packed_rows().batch(0, 0)["segment_ids"]
    assert np.array_equal(mask, hr.segment_mask(ids, causal))
