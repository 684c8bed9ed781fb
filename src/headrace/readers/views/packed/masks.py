"""What keeps the samples of a packed row apart in attention: masks, and offsets of segments."""

from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.errors import ArgumentError, bad_value

_MOST_TOKENS = 2**31 - 1


def segment_mask(segment_ids: Any, causal: bool = False) -> Any:
    """The mask by which each sample of a packed row attends to itself alone.

    It is made of operators alone, so that it works in compiled functions, and on the device of
    `segment_ids`: of a long row it takes much more memory than the row.

    Padding attends to padding. With nothing to attend to, a softmax would give NaN there, also in
    gradients; leave it out of the loss instead, by `segment_ids > 0`.

    Args:
        segment_ids: shape (..., length), ints; an array of numpy or JAX, or a tensor of PyTorch or
            TensorFlow.
        causal: whether a position attends to none that come after it.

    Returns:
        Of the same library, shape (..., length, length), bool: whether position i attends to j, at
        [..., i, j]. Where attention has heads, give it an axis for them: `mask[:, None]`.

    Raises:
        ArgumentError: (a ValueError) in a function that TensorFlow compiles for any length, with
            `causal`.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> hr.segment_mask(np.array([1, 1, 2, 0]), causal=True).astype(int)
        array([[1, 0, 0, 0],
               [1, 1, 0, 0],
               [0, 0, 1, 0],
               [0, 0, 0, 1]])
    """
    if isinstance(segment_ids, list | tuple):
        segment_ids = np.asarray(segment_ids)
    same = segment_ids[..., :, None] == segment_ids[..., None, :]
    if not causal:
        return same
    if hasattr(same, "tril"):  # tensors of PyTorch, to which numpy's can't be combined
        return same.tril()
    length = same.shape[-1]
    if length is None:
        raise ArgumentError(
            "segment_ids must have a length that is known where a function is compiled, if "
            "causal=True. Say it, as with keras.Input((2048,)) or tf.ensure_shape(segment_ids, "
            "(None, 2048))."
        )
    return same & np.tri(length, dtype=np.bool_)


def cu_seqlens(segment_ids: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Where the segments of a packed batch begin and end, for attention over ragged sequences.

    They are the cumulated sequence lengths that FlashAttention's `flash_attn_varlen_func` takes,
    and the offsets of a jagged tensor of PyTorch, of all rows one after the other:
    `x.reshape(batch * length, ...)`. The padding of a row is a segment, too, so that no token has
    to be moved; leave it out of the loss.

    Args:
        segment_ids: shape (batch, length) or (length,), ints.

    Returns:
        int32, shape (segments + 1,), from 0 to batch * length. The longest segment has
        `np.diff(cu_seqlens).max()` tokens.

    Raises:
        ArgumentError: (a ValueError) it has other dimensions, or more tokens than int32 counts.

    Example:
        >>> import headrace as hr
        >>> hr.cu_seqlens([[1, 1, 2, 0], [1, 1, 1, 1]])
        array([0, 2, 3, 4, 8], dtype=int32)
    """
    ids = np.asarray(segment_ids)
    if ids.ndim not in (1, 2) or ids.dtype.kind not in "iu":
        raise bad_value("segment_ids", ids, "ints of shape (batch, length) or (length,)")
    if ids.size > _MOST_TOKENS:
        allowed = f"of at most {_MOST_TOKENS} tokens, as FlashAttention counts them by int32"
        raise bad_value("segment_ids", f"{ids.size} tokens", allowed, "Make smaller batches.")
    rows = np.atleast_2d(ids)
    begins = np.ones(rows.shape, np.bool_)
    np.not_equal(rows[:, 1:], rows[:, :-1], out=begins[:, 1:])
    return np.append(np.flatnonzero(begins), rows.size).astype(np.int32)
