"""Packed rows in PyTorch: a transformer sees each sample as if it were alone."""

import numpy as np
import pytest
from documents import LENGTH, LENGTHS, N_TOKENS, documents, next_tokens, packed_rows, single_rows

import headrace as hr

torch = pytest.importorskip("torch", reason="needs headrace[torch]")
functional = torch.nn.functional

IDS = np.array([[1, 1, 2, 3, 3, 3], [1, 1, 1, 1, 0, 0]], np.int32)


@pytest.mark.parametrize("causal", [False, True])
def test_masks_are_those_of_numpy(causal):
    mask = hr.segment_mask(torch.from_numpy(IDS), causal)
    assert mask.dtype == torch.bool
    assert np.array_equal(mask.numpy(), hr.segment_mask(IDS, causal))


class TinyTransformer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = torch.nn.Embedding(N_TOKENS, 8)
        self.positions = torch.nn.Embedding(LENGTH, 8)
        self.qkv = torch.nn.Linear(8, 24)
        self.out = torch.nn.Linear(8, N_TOKENS)

    def embedded(self, batch):
        return self.tokens(batch["values"]) + self.positions(batch["positions"])

    def forward(self, batch):
        x = self.embedded(batch)
        heads = self.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)  # 2 heads of 4
        mask = hr.segment_mask(batch["segment_ids"], causal=True)[:, None]
        seen = functional.scaled_dot_product_attention(*heads, attn_mask=mask)
        return self.out(x + seen.transpose(1, 2).flatten(-2))


def loss_and_gradients(model, batch):
    targets, weights = map(torch.from_numpy, next_tokens(batch))
    tensors = {key: torch.from_numpy(part) for key, part in batch.items()}
    losses = functional.cross_entropy(
        model(tensors).transpose(1, 2), targets.long(), reduction="none"
    )
    model.zero_grad()
    loss = (losses * weights).sum() / weights.sum()
    loss.backward()
    assert int(weights.sum()) == (LENGTHS - 1).sum()
    return [loss.detach(), *(parameter.grad.clone() for parameter in model.parameters())]


def test_the_loss_on_packed_rows_is_that_on_single_samples():
    torch.manual_seed(0)
    model = TinyTransformer().double()
    packed, single = (
        loss_and_gradients(model, loader.batch(0, 0)) for loader in (packed_rows(), single_rows())
    )
    for one, other in zip(packed, single, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_segments_of_a_jagged_tensor_are_those_of_the_rows():
    """What attention over offsets sees: the segments of all rows, padding by itself."""
    batch = packed_rows().batch(0, 0)
    offsets = hr.cu_seqlens(batch["segment_ids"])
    tokens = torch.from_numpy(batch["values"]).flatten()
    ids = torch.from_numpy(batch["segment_ids"]).flatten()
    samples = list(torch.nested.nested_tensor_from_jagged(tokens, torch.from_numpy(offsets)))
    of_rows = [s.tolist() for s, at in zip(samples, offsets, strict=False) if ids[at] > 0]
    (whole,) = hr.Loader(documents(), len(LENGTHS), shuffle=False)
    assert sorted(of_rows) == sorted(sample.tolist() for sample in whole)
