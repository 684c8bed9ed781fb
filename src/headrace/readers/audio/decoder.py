"""AudioDecoder: samples of sound in a file, or a part of them, written into an array.

Requires soundfile, imported when one is made.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from headrace.arguments import check_int
from headrace.arrays import Array, DType
from headrace.errors import bad_value, missing_extra
from headrace.readers.audio.clips import MOST_FRAMES
from headrace.readers.audio.mpeg import samples_without_tag
from headrace.readers.shared.format_error import FormatError, is_of_storage

if TYPE_CHECKING:
    import soundfile

DTYPES = ("float32", "float64", "int16", "int32")
MOST = 2**31 - 1
# Of these, libsndfile 1.2.2 gives other frames than those that it was told to go to.
_READ_THROUGH = ("VORBIS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")
_BLOCK_FRAMES = 2**16
# What libsndfile logs of a file whose header tells of more bytes than it has.
_CUT_SHORT = re.compile(r"^\s*(?:data|SSND|Riff size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
# Programs that write to a pipe can't go back to fill in the size, and leave a large one.
_LEAST_UNKNOWN = 2**31 - 2**16
# No more frames than these take a byte: silence of FLAC 6,554, of Opus 2,880; and of MP3 24.
_MOST_FRAMES_PER_BYTE, _OF_MP3 = 2**13, 64
_PAGE = re.compile(rb"OggS\0[\0-\7]")
_MOST_PAGE_BYTES = 27 + 255 + 255 * 255


class Header(NamedTuple):
    """What the header of a file says: its frames, their rate in Hz, and its channels."""

    frames: int
    rate: int
    channels: int


class ClipError(FormatError):
    """The number `clip` of those to be read is not in the file."""

    def __init__(self, clip: int, reason: object) -> None:
        super().__init__(reason)
        self.clip = clip


class AudioDecoder:
    """Decodes sound of one rate and number of channels.

    Args:
        rate: in Hz. None: not known yet.
        channels: how many samples a frame has; 1 is the mean of all that there are. None: not known
            yet.
        dtype: of the samples.

    Raises:
        ArgumentError: (a ValueError) an argument is not allowed.
        MissingExtraError: (an ImportError) soundfile is not installed.
    """

    def __init__(self, rate: int | None, channels: int | None, dtype: Any) -> None:
        try:
            import soundfile  # noqa: F401
        except (ImportError, OSError):  # the latter if its library is not there
            raise missing_extra("Decoding audio", "soundfile", "audio") from None
        self.rate = None if rate is None else check_int("rate", rate, 1, MOST)
        self.channels = None if channels is None else check_int("channels", channels, 1, 1024)
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = ""
        if name not in DTYPES:
            raise bad_value("dtype", dtype, f"one of {', '.join(DTYPES)}")
        self.dtype: DType = np.dtype(name)

    @property
    def element(self) -> tuple[int, ...]:
        """The shape of a frame."""
        assert self.channels is not None
        return () if self.channels == 1 else (self.channels,)

    def learn(self, header: Header) -> None:
        """Takes the rate and the channels of a file, where they are not given."""
        self.rate = self.rate or header.rate
        self.channels = self.channels or header.channels

    def read(self, file: BinaryIO, clips: list[tuple[int, Array]]) -> Header:
        """Writes clips of a file into arrays.

        Args:
            file: of this machine, or in memory.
            clips: for each, its first frame, and what to fill, shape (frames, *element).

        Raises:
            FormatError: it is damaged, is none that soundfile reads, has another rate or other
                channels, or fewer frames.
        """
        with opened(file) as sound:
            self._check(sound)
            _check_whole(sound, file)
            for number, (start, out) in enumerate(clips):
                if start + len(out) > sound.frames:
                    reason = f"it has {sound.frames} frames; expected are {start + len(out)}"
                    raise ClipError(number, reason)
            if sound.subtype in _READ_THROUGH or not sound.seekable():
                self._read_through(sound, clips)
                return header_of(sound)
            for number, (start, out) in enumerate(clips):
                if number and sound.subtype == "OPUS":  # which keeps something of the last one
                    file.seek(0)
                    with opened(file) as again:
                        self._read(again, number, start, out)
                else:
                    self._read(sound, number, start, out)
            return header_of(sound)

    def _check(self, sound: "soundfile.SoundFile") -> None:
        if sound.samplerate != self.rate:
            raise FormatError(
                f"its rate is {sound.samplerate} Hz; expected is {self.rate}. Resample it, as with "
                f"`ffmpeg -i file -ar {self.rate} resampled.wav`, or leave it out of ids="
            )
        if sound.channels != self.channels and self.channels != 1:
            raise FormatError(
                f"it has {sound.channels} channels; expected are {self.channels}. Pass channels=1 "
                "for the mean of all that a file has"
            )
        is_exact = self.dtype.kind == "f" or (
            sound.subtype == "PCM_16" if self.dtype == np.int16 else sound.subtype[:4] == "PCM_"
        )
        if not is_exact or (self.dtype.kind == "i" and sound.channels != self.channels):
            raise FormatError(
                f"it has {sound.channels} channels of {sound.subtype}, which can't become "
                f"{self.channels} of {self.dtype} as they are. Leave dtype= out for float32"
            )

    def _read(self, sound: "soundfile.SoundFile", number: int, start: int, out: Array) -> None:
        n = len(out)
        if not n:
            return
        sound.seek(start)
        if sound.channels == self.channels:
            found = sound.read(n, self.dtype.name, always_2d=out.ndim == 2, out=out)
        else:
            found = sound.read(n, self.dtype.name, always_2d=True)
            out[: len(found)] = found.mean(axis=1)
        if len(found) < n:
            raise ClipError(number, f"it ends after frame {start + len(found)} of {sound.frames}")

    def _read_through(self, sound: "soundfile.SoundFile", clips: list[tuple[int, Array]]) -> None:
        """Reads the file, just opened, from its beginning to the end of the last of the clips."""
        # soundfile goes to where it is after each read, unless it can't.
        vars(sound)["seekable"] = lambda: False
        last = max(range(len(clips)), key=lambda number: clips[number][0] + len(clips[number][1]))
        stop, at = clips[last][0] + len(clips[last][1]), 0
        while at < stop:
            found = sound.read(min(_BLOCK_FRAMES, stop - at), self.dtype.name, always_2d=True)
            if not len(found):
                raise ClipError(last, f"it ends after frame {at} of {sound.frames}")
            if sound.channels != self.channels:
                found = found.mean(axis=1, keepdims=True)
            for start, out in clips:
                first, end = max(start, at), min(start + len(out), at + len(found))
                if first < end:
                    out[first - start : end - start].reshape(-1)[...] = found[
                        first - at : end - at
                    ].reshape(-1)
            at += len(found)


def _check_whole(sound: "soundfile.SoundFile", file: BinaryIO) -> None:
    """Raises a FormatError if the file was cut short, which libsndfile takes for its end."""
    if sound.format == "OGG":
        position = file.tell()
        start = max(0, file.seek(0, io.SEEK_END) - _MOST_PAGE_BYTES)
        file.seek(start)
        tail = file.read()
        file.seek(position)
        pages = [match.start() for match in _PAGE.finditer(tail)]
        if pages and _page_end(tail, pages[-1]) > len(tail):
            raise FormatError("it was cut short: it ends within a page of Ogg")
        return
    found = _CUT_SHORT.search(sound.extra_info)
    if found is not None and int(found[1]) < _LEAST_UNKNOWN:
        raise FormatError(
            f"it was cut short: it has {found[2]} of the {found[1]} bytes of sound in its header"
        )


def _page_end(data: bytes, page: int) -> int:
    """Where a page of Ogg ends, of whose packets the sizes stand in its header (RFC 3533)."""
    sizes = page + 27
    if len(data) < sizes:
        return sizes
    stop = sizes + data[sizes - 1]
    return stop + sum(data[sizes:stop])


@contextlib.contextmanager
def opened(file: BinaryIO) -> Iterator["soundfile.SoundFile"]:
    """A file as soundfile has it. What it says of the bytes within comes as a FormatError."""
    import soundfile

    # By its path, the library reads it without Python. By its number, it would close it at times.
    source: object = file
    if isinstance(file, io.FileIO):
        source = file.name if os.name == "nt" else os.fsencode(file.name)
    try:
        with soundfile.SoundFile(source) as sound:
            if sound.frames > MOST_FRAMES:  # as libsndfile 1.2.0 has it for Ogg
                raise FormatError("it was cut short: what says how long it is stands at its end")
            _check_frames(sound, file)
            if sound.format == "MP3":
                _set_frames(sound, file)
            yield sound
    except (FormatError, MemoryError):
        raise
    except soundfile.LibsndfileError as error:
        raise FormatError(f"{error.error_string} (libsndfile)") from None
    except Exception as error:  # soundfile raises several for what it does not read
        if is_of_storage(error):
            raise
        raise FormatError(f"{type(error).__name__}: {error}") from error


def _check_frames(sound: "soundfile.SoundFile", file: BinaryIO) -> None:
    """Raises a FormatError if the file is too small for what its header tells of."""
    position = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(position)
    if sound.frames > size * (_OF_MP3 if sound.format == "MP3" else _MOST_FRAMES_PER_BYTE):
        raise FormatError(
            f"it says that it has {sound.frames} frames, which can't be in its {size} bytes"
        )


def _set_frames(sound: "soundfile.SoundFile", file: BinaryIO) -> None:
    """Sets how many frames an MP3 has, if that was guessed; a FormatError if too few were.

    libsndfile, up to 1.2.2 at least, reads no more than it has guessed.
    """
    position = file.tell()
    counted = samples_without_tag(file)
    file.seek(position)
    if counted is None:
        return
    if counted > sound.frames:
        raise FormatError(
            f"it does not say how long it is, and of its {counted} frames, {sound.frames} would be "
            "read. Have that written into it, as with `ffmpeg -i file -c copy whole.mp3`"
        )
    sound._info.frames = counted  # what its `frames` are, up to soundfile 0.14 at least


def header_of(sound: "soundfile.SoundFile") -> Header:
    """What the header says."""
    return Header(sound.frames, sound.samplerate, sound.channels)
