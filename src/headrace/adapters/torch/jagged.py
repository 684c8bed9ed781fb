"""Samples of any length as jagged nested tensors, and what becomes of one such sample.

PyTorch takes two jagged tensors for ones of the same shape only if they have the very same tensor
of offsets. So the parts of a batch whose samples have the same lengths share theirs.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch.utils.data._utils.collate import default_collate_fn_map

from headrace.adapters.torch.tensors import as_tensor
from headrace.errors import ArgumentError
from headrace.pytree import map_leaves
from headrace.ragged import Ragged, offsets_of

_LEAST_TORCH = "2.4"


class RaggedSample(torch.Tensor):
    """One sample of any length: a tensor like all others, whatever is computed with it.

    Its type tells collate functions, ours and PyTorch's, that a batch of such samples is a jagged
    tensor, also where they all happen to have one length.
    """

    __torch_function__: Any = torch._C._disabled_torch_function_impl


def sample_of(batch: Ragged, row: int) -> Any:
    """A sample, as a view."""
    sample = as_tensor(batch[row])
    return sample.as_subclass(RaggedSample) if isinstance(sample, torch.Tensor) else sample


def with_jagged(batch: object) -> Any:
    """The batch with jagged tensors for each `Ragged` whose dtype PyTorch has, as views.

    Raises:
        ArgumentError: (a ValueError) this version of PyTorch has no such tensors.
    """
    known: dict[bytes, torch.Tensor] = {}

    def converted(leaf: object) -> Any:
        if not isinstance(leaf, Ragged):
            return leaf
        values = as_tensor(leaf.values)
        if not isinstance(values, torch.Tensor):
            return leaf
        lengths = leaf.offsets.tobytes()
        if lengths not in known:
            known[lengths] = cast("torch.Tensor", as_tensor(leaf.offsets))
        return _jagged(values, known[lengths])

    return map_leaves(converted, batch)


def stacked(samples: Sequence[torch.Tensor], **_: object) -> torch.Tensor:
    """A jagged tensor of samples of any length, each of which is copied."""
    lengths = torch.tensor([len(sample) for sample in samples]).numpy()
    return _jagged(torch.cat(list(samples)), torch.from_numpy(offsets_of(lengths)))


# As PyTorch's documentation of default_collate tells to.
default_collate_fn_map[RaggedSample] = stacked


def map_tensors(function: Callable[[torch.Tensor], torch.Tensor], batch: object) -> Any:
    """The batch with `function(tensor)` of each tensor; of jagged ones, of what they consist of."""
    known: dict[int, torch.Tensor] = {}

    def mapped(leaf: object) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        values, *of_jagged = dense_parts(leaf)
        if not of_jagged:
            return function(values)
        (offsets,) = of_jagged
        if id(offsets) not in known:
            known[id(offsets)] = function(offsets)
        return _jagged(function(values), known[id(offsets)])

    return map_leaves(mapped, batch)


def dense_parts(leaf: Any) -> tuple[torch.Tensor, ...]:
    """The tensor itself; of a jagged one, the tensors that it consists of."""
    return (leaf.values(), leaf.offsets()) if _is_plainly_jagged(leaf) else (leaf,)


def _is_plainly_jagged(leaf: Any) -> bool:
    """Whether it consists of values and offsets alone, and has its samples in the first axis."""
    return (
        leaf.is_nested
        and leaf.layout is torch.jagged
        and leaf.lengths() is None
        and not isinstance(leaf.shape[1], int)
    )


def _jagged(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    make = getattr(torch.nested, "nested_tensor_from_jagged", None)
    if make is None:
        raise ArgumentError(
            f"samples of any length need PyTorch {_LEAST_TORCH}, whose tensors may be jagged, but "
            f"{torch.__version__} is installed. Use headrace.pad, which makes arrays of them."
        )
    jagged: torch.Tensor = make(values, offsets)
    return jagged
