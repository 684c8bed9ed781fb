"""AudioFiles: sound in files: whole, or clips of them.

Requires soundfile, imported when a reader is made.
"""

import io
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import check_int
from headrace.arrays import Array, Indices, fingerprint
from headrace.errors import bad_value
from headrace.ragged import RaggedOut
from headrace.readers.audio.clips import Clips
from headrace.readers.audio.decoder import MOST, AudioDecoder, ClipError
from headrace.readers.audio.headers import headers_of
from headrace.readers.reader import Out, Spec, check_read
from headrace.readers.shared.block_cache import rows_of_blocks
from headrace.readers.shared.format_error import FormatError, sample_error
from headrace.readers.shared.listing import samples_below
from headrace.readers.shared.sample_files import SampleFiles, fetched
from headrace.storage.local.regular import opener
from headrace.storage.opening import Root, open_storage
from headrace.storage.stamps import Stamps
from headrace.storage.storage import Request

SUFFIXES = (".aif", ".aiff", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav")


class AudioFiles:
    """Samples of sound: whole files, each of its length, or clips of them, all of one.

    A sample has the shape (frames,) with one channel, and (frames, channels) with several. Files of
    this machine are decoded straight into the batch, and of a clip no more than it is; but of MP3
    and Ogg Vorbis all that comes before it.

    Args:
        root: the folder, a URL such as "s3://bucket/folder", or a `headrace.Remote`.
        frames: of each sample. Default: whole files, or those that `clips` say; samples then may
            have any length, and a batch is a `headrace.Ragged`.
        rate: in Hz, which all files must have; nothing is resampled. Default: that of the first
            file.
        channels: of the samples. 1: the mean of all that a file has. Default: those of the first
            file, which all others must then have.
        clips: with `frames`, a list of (file, start), else of (file, start, length), in frames, of
            files by their names below root. Default, with `frames`: each file is cut into as many
            clips as it has, and what is left at its end is left out.
        hop: from the start of one of these clips to that of the next. Default: `frames`, so that
            they follow one another.
        ids: the names of the files below root, with their suffixes, in order. Default: all that end
            with .wav, .flac, .ogg, .oga, .opus, .mp3, .aif or .aiff in any case, sorted.
        dtype: float32 or float64, from -1 to 1; or int16 or int32, of files with such samples.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) there is no such folder or
            file, a clip is not within its file, or an argument is not allowed.
        MissingExtraError: (an ImportError) soundfile is not installed.
        SampleNotFoundError: (a FileNotFoundError) a file does not exist.
        SampleFormatError: (a ValueError) a file is damaged or was cut short, is not audio, has
            another rate or other channels, or has become shorter.
        StorageError: (an OSError) a file can't be read.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> import os, soundfile, tempfile
        >>> root = tempfile.mkdtemp()
        >>> for name, frames in (("a", 1000), ("b", 1600)):
        ...     soundfile.write(os.path.join(root, f"{name}.wav"), np.zeros(frames), 16_000)
        >>> clips = hr.AudioFiles(root, frames=400)
        >>> clips.spec, clips.ids[1:3]
        (Spec(shape=(400,), dtype=dtype('float32')), ['a.wav[400:800]', 'b.wav[0:400]'])
        >>> whole = hr.AudioFiles(root, rate=16_000, channels=1)
        >>> hr.Loader(whole, batch_size=2, shuffle=False).batch(0, 0).lengths.tolist()
        [1000, 1600]
    """

    def __init__(
        self,
        root: Root,
        frames: int | None = None,
        *,
        rate: int | None = None,
        channels: int | None = None,
        clips: Iterable[tuple[str, int] | tuple[str, int, int]] | None = None,
        hop: int | None = None,
        ids: Iterable[str] | None = None,
        dtype: npt.DTypeLike = "float32",
    ) -> None:
        self._frames = None if frames is None else check_int("frames", frames, 1, MOST)
        if hop is not None:
            hop = check_int("hop", hop, 1, MOST)
            if frames is None or clips is not None:
                raise bad_value("hop", hop, "left out unless frames= is given, without clips=")
        self._decoder = AudioDecoder(rate, channels, dtype)
        storage = open_storage(root)
        if ids is None:
            ids = samples_below(storage, SUFFIXES, "ids", any_case=True)
        self._files = SampleFiles(storage, ids, SUFFIXES)
        names = self._files.names.without_suffix()
        headers = headers_of(storage, names)
        self._decoder.learn(headers[0])
        of_files = np.array([header.frames for header in headers], np.int64)
        if clips is not None:
            self._clips = Clips.given(clips, names, self._frames, storage.root)
            self._clips.check(of_files, names)
        elif self._frames is not None:
            self._clips = Clips.cut(of_files, self._frames, hop or self._frames)
        else:
            self._clips = Clips.whole(of_files)
        self._is_whole = clips is None and frames is None

    @property
    def spec(self) -> Spec:
        return Spec((self._frames, *self._decoder.element), self._decoder.dtype)

    @property
    def rate(self) -> int:
        """The frames in a second."""
        assert self._decoder.rate is not None
        return self._decoder.rate

    @property
    def ids(self) -> list[str]:
        """The names of the files; of clips, with their frames, as in "a.wav[0:400]"."""
        names = self.files
        if self._is_whole:
            return names
        starts, lengths = self._clips.start.tolist(), self._clips.length.tolist()
        rows = zip(names, starts, lengths, strict=True)
        return [f"{name}[{start}:{start + length}]" for name, start, length in rows]

    @property
    def files(self) -> list[str]:
        """The name of the file of each sample, such as to look up its label."""
        return self._files.names.at(self._clips.file.astype(np.int64))

    def __len__(self) -> int:
        return len(self._clips.file)

    def __repr__(self) -> str:
        return (
            f"AudioFiles({self._files.storage.root!r}, n={len(self)}, files={len(self._files)}, "
            f"rate={self.rate}, {self.spec})"
        )

    def sample_lengths(self) -> Indices | None:
        """The frames of each sample; None if all have the same."""
        return self._clips.length if self._frames is None else None

    def fingerprint(self) -> str:
        """A hash of the names of the files, the clips and the rate."""
        arrays = (np.ascontiguousarray(array, "<i8").tobytes() for array in self._clips)
        return fingerprint(self._files.names.fingerprint(), repr(self.rate), *arrays)

    def stamps(self, indices: Indices) -> Stamps:
        """For each sample a number that changes with its file."""
        return self._files.stamps(self._clips.file[indices].astype(np.int64))

    def read(self, indices: Indices, out: Out) -> None:
        check_read(len(self), self.spec, indices, out)
        if isinstance(out, RaggedOut):
            rows: object = self._allocated(indices, out)
        else:
            rows = out
        # A file is opened once, for all of its clips in a batch.
        files = self._clips.file[indices].astype(np.int64)
        groups = {file: wanted.tolist() for file, wanted in rows_of_blocks(files)}
        storage = self._files.storage
        if storage.local_path() is not None:
            for file, wanted in groups.items():
                self._read(file, None, wanted, indices, rows)
            return
        names = self._files.names.at(np.array(list(groups), np.int64))
        firsts = indices[[wanted[0] for wanted in groups.values()]]
        listed = list(groups.items())
        for number, data in fetched(storage, [Request(name) for name in names], firsts):
            file, wanted = listed[number]
            self._read(file, data, wanted, indices, rows)

    def _allocated(self, indices: Indices, out: RaggedOut) -> object:
        lengths = self._clips.length[indices]
        try:
            return out.allocate(lengths)
        except MemoryError as error:  # perhaps of a single file, whose header may be damaged
            longest = int(indices[lengths.argmax()])
            location = self._files.location(int(self._clips.file[longest]))
            frames = self._clips.length[longest]
            error.add_note(f"headrace: sample {longest}, of {location!r}, has {frames} frames")
            raise

    def _read(
        self, file: int, data: memoryview | None, wanted: list[int], indices: Indices, rows: Any
    ) -> None:
        """Reads the samples of the wanted rows, all of which are in this file."""
        clips: list[tuple[int, Array]] = [
            (int(self._clips.start[indices[row]]), rows[row]) for row in wanted
        ]
        location = self._files.location(file)
        try:
            if data is not None:
                header = self._decoder.read(io.BytesIO(data), clips)
            else:
                with open(os.fspath(location), "rb", buffering=0, opener=opener) as opened:
                    header = self._decoder.read(opened, clips)
            if self._is_whole and header.frames != len(clips[0][1]):
                raise FormatError(
                    f"it has {header.frames} frames; expected are {len(clips[0][1])}, as it had "
                    "when the reader was made"
                )
        except (OSError, FormatError) as error:
            number = error.clip if isinstance(error, ClipError) else 0
            index = int(indices[wanted[number]])
            raise sample_error(error, index, location) from error.__cause__
