"""segment_mask and cu_seqlens: what a position of a packed row attends to."""

import numpy as np
import pytest

import headrace as hr

IDS = np.array([[1, 1, 2, 3, 3, 3], [1, 1, 1, 1, 0, 0]], np.int32)


@pytest.mark.parametrize("causal", [False, True])
def test_a_position_attends_to_its_own_segment_alone(causal):
    mask = hr.segment_mask(IDS, causal)
    assert mask.shape == (2, 6, 6)
    assert mask.dtype == bool
    for row, ids in enumerate(IDS):
        for i in range(6):
            for j in range(6):
                assert mask[row, i, j] == (ids[i] == ids[j] and (j <= i or not causal))
    assert mask.any(axis=-1).all(), "softmax of nothing would be NaN"
    assert np.array_equal(hr.segment_mask(IDS[0], causal), mask[0])
    assert np.array_equal(hr.segment_mask(IDS.tolist(), causal), mask)


def test_segments_of_all_rows_one_after_the_other():
    offsets = hr.cu_seqlens(IDS)
    assert offsets.dtype == np.int32
    assert offsets.tolist() == [0, 2, 3, 6, 10, 12]
    assert hr.cu_seqlens(IDS[1]).tolist() == [0, 4, 6]
    # Rows that end and begin with segments of one number.
    assert hr.cu_seqlens([[1, 1], [1, 1]]).tolist() == [0, 2, 4]


@pytest.mark.parametrize("ids", [np.zeros((1, 2, 3), int), np.zeros((2, 3)), np.int32(1)])
def test_segment_ids_of_other_shapes_are_refused(ids):
    with pytest.raises(hr.ArgumentError, match="segment_ids"):
        hr.cu_seqlens(ids)


def test_more_tokens_than_int32_counts_are_refused():
    ids = np.broadcast_to(np.int8(1), (2, 2**30))
    with pytest.raises(hr.ArgumentError, match=r"at most 2147483647 tokens.*2147483648 tokens"):
        hr.cu_seqlens(ids)
