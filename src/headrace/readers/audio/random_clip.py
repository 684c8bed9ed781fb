"""RandomClip: a clip of sound from a random frame on, for transforms."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import check_bool, check_int
from headrace.arrays import Array
from headrace.errors import ArgumentError, SampleFormatError
from headrace.readers.audio.decoder import MOST, AudioDecoder, opened
from headrace.readers.shared.format_error import FormatError


class RandomClip:
    """Takes a clip of so many frames out of a sample of sound, each of its clips equally likely.

    To be called in a transform of each sample, with its random numbers, so that a clip is a
    function of the seed, the epoch and the sample. It draws one number.

    Args:
        frames: of the clip.
        rate: in Hz, where samples are encoded: a file of another is an error.
        channels: where samples are encoded, as of `headrace.AudioFiles`.
        pad: whether samples with fewer frames get zeros at their end; else they are an error.
        dtype: where samples are encoded, as of `headrace.AudioFiles`.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed; or
            when it is called, a sample has fewer frames, or is encoded without `rate`.
        MissingExtraError: (an ImportError) `rate` is given, and soundfile is not installed.
        SampleFormatError: (a ValueError) when it is called: a sample can't be decoded.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> import os, soundfile, tempfile
        >>> root = tempfile.mkdtemp()
        >>> soundfile.write(os.path.join(root, "a.wav"), np.arange(1000) / 1000, 16_000)
        >>> transform = hr.per_sample(hr.RandomClip(5))
        >>> loader = hr.Loader(hr.AudioFiles(root), batch_size=1, transform=transform)
        >>> loader.batch(0, 0).shape, bool((loader.batch(0, 0) == loader.batch(1, 0)).all())
        ((1, 5), False)
        >>> encoded = hr.Files(root, decode=False)  # of which only the clips are decoded
        >>> transform = hr.per_sample(hr.RandomClip(5, rate=16_000, channels=1))
        >>> again = hr.Loader(encoded, batch_size=1, transform=transform)
        >>> bool((again.batch(3, 0) == loader.batch(3, 0)).all())
        True
    """

    def __init__(
        self,
        frames: int,
        *,
        rate: int | None = None,
        channels: int = 1,
        pad: bool = False,
        dtype: npt.DTypeLike = "float32",
    ) -> None:
        self._frames = check_int("frames", frames, 1, MOST)
        self._pad = check_bool("pad", pad)
        self._decoder = None if rate is None else AudioDecoder(rate, channels, dtype)

    def __repr__(self) -> str:
        return f"RandomClip({self._frames})"

    def __call__(self, sample: Array, rng: np.random.Generator) -> Array:
        """The clip of a sample, shape (frames, *element); or uint8, the bytes of a file."""
        if self._decoder is not None:
            return self._of_encoded(self._decoder, sample, rng)
        if sample.dtype == np.uint8:
            raise ArgumentError(
                "rate must be given, as the samples are uint8, the bytes of files: "
                "hr.RandomClip(frames, rate=16_000, channels=1)."
            )
        start, length = self._drawn(len(sample), rng)
        clip = sample[start : start + length]
        if length == self._frames:
            return clip
        return np.concatenate(
            [clip, np.zeros((self._frames - length, *clip.shape[1:]), clip.dtype)]
        )

    def _of_encoded(self, decoder: AudioDecoder, sample: Array, rng: np.random.Generator) -> Array:
        out = np.zeros((self._frames, *decoder.element), decoder.dtype)
        file: Any = io.BytesIO(sample.tobytes())
        try:
            with opened(file) as sound:
                start, length = self._drawn(sound.frames, rng)
            file.seek(0)
            decoder.read(file, [(start, out[:length])])
        except FormatError as error:
            raise SampleFormatError(f"the sample can't be decoded: {error}") from error.__cause__
        return out

    def _drawn(self, frames: int, rng: np.random.Generator) -> tuple[int, int]:
        """Where the clip begins, and how many of its frames a sample of so many has."""
        spare = frames - self._frames
        if spare < 0 and not self._pad:
            raise ArgumentError(
                f"frames must be at most those of each sample, but {self._frames} was given, and "
                f"one has {frames}. Pass pad=True for zeros at its end."
            )
        return int(rng.integers(max(spare, 0) + 1)), min(frames, self._frames)
