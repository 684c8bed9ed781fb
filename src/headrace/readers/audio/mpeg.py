"""How long an MP3 is that does not say so.

Encoders write it into a first frame without sound, called Xing or Info. Without that, libsndfile
guesses it from the size of the file and the bit rate of its first frame, and reads no more.
"""

from typing import BinaryIO, NamedTuple

_TAGS = (b"Xing", b"Info")
_ID3_BYTES = 10
_TAG_BYTES = 64  # of the first frame, within which a tag begins
_LAYER_3, _FREE, _BAD = 1, 0, 15
_MPEG_1, _RESERVED = 3, 1
_KBITS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)
_FRACTIONS = {3: 1, 2: 2, 0: 4}  # of these rates, by the number of the version
# What may follow the last frame.
_ENDS = (b"TAG", b"APE", b"\0\0\0")


class _Frame(NamedTuple):
    nbytes: int
    samples: int


def samples_without_tag(file: BinaryIO) -> int | None:
    """The frames of sound in an MP3, counted; None if it says how many, or is none all through."""
    at = 0
    while True:  # over what is known of the piece, such as its title
        file.seek(at)
        header = file.read(_ID3_BYTES)
        if header[:3] != b"ID3" or len(header) < _ID3_BYTES:
            break
        digits = enumerate(header[6:])  # of 7 bits each
        at += _ID3_BYTES + sum(digit << 7 * (3 - place) for place, digit in digits)
    data = header + file.read(_TAG_BYTES)
    if any(tag in data for tag in _TAGS):
        return None
    data += file.read()
    at = samples = 0
    while at + 4 <= len(data) and not data.startswith(_ENDS, at):
        frame = _frame(data[at : at + 4])
        if frame is None:
            return None
        at += frame.nbytes
        if at <= len(data):
            samples += frame.samples
    return samples


def _frame(header: bytes) -> _Frame | None:
    """What the header of a frame says; None if it is none of MPEG's third layer."""
    bits = int.from_bytes(header, "big")
    version, layer = bits >> 19 & 3, bits >> 17 & 3
    kbits, rate = bits >> 12 & 15, bits >> 10 & 3
    is_one = bits >> 21 == 0x7FF and version != _RESERVED and layer == _LAYER_3
    if not is_one or kbits in (_FREE, _BAD) or rate == len(_RATES):
        return None
    samples = 1152 if version == _MPEG_1 else 576
    bits_a_second = 1000 * _KBITS[version == _MPEG_1][kbits]
    hertz = _RATES[rate] // _FRACTIONS[version]
    return _Frame(samples * bits_a_second // (8 * hertz) + (bits >> 9 & 1), samples)
