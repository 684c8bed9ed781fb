"""Batches on a device, copied by a thread of its own, one ahead of the consumer."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from headrace.adapters.torch.jagged import dense_parts, map_tensors
from headrace.batching.feed import Feed
from headrace.batching.transforms import Batch
from headrace.pytree import leaves


class Copier:
    """Copies batches to a device in a thread of its own, while the caller does other things."""

    def __init__(self, device: torch.device, thread: ThreadPoolExecutor, feed: Feed) -> None:
        # "cuda" is the current one of this thread; that of the copying thread is another.
        self._device = torch.empty(0, device=device).device
        self._thread = thread
        self._feed = feed
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]

    def start(self, batch: Batch) -> Callable[[], Batch]:
        """Starts to copy the batch; what it returns waits for that."""
        copied = self._thread.submit(self._copy, batch)

        def finish() -> Batch:
            began = time.perf_counter()
            moved, event = copied.result()
            self._wait(moved, event)
            self._feed.count_delivering(time.perf_counter() - began)
            return moved

        return finish

    def _copy(self, batch: Batch) -> tuple[Batch, torch.cuda.Event | None]:
        """The batch on the device, and the event after which it is there."""
        if self._stream is None:
            return map_tensors(self._to_device, batch), None
        with torch.cuda.stream(self._stream):
            # torch keeps the pinned memory until the copy from it is done.
            moved = map_tensors(lambda leaf: self._to_device(leaf.pin_memory()), batch)
            return moved, self._stream.record_event()

    def _wait(self, moved: Batch, event: torch.cuda.Event | None) -> None:
        """Lets what the caller does on the device from now on come after the copy."""
        if event is None:
            return
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(event)
        for leaf in leaves(moved):
            if isinstance(leaf, torch.Tensor):
                for part in dense_parts(leaf):
                    part.record_stream(stream)  # its memory is of the copying stream

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self._device, non_blocking=True)
