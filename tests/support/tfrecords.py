"""TFRecords and tf.train.Example, written without TensorFlow."""

import struct

import numpy as np

POLYNOMIAL = 0x82F63B78


def of_byte(crc):
    """Bit by bit, as the standard defines it."""
    for _ in range(8):
        crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    return crc


TABLE = [of_byte(byte) for byte in range(256)]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data):
    """The record of some bytes."""
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def varint(number):
    number &= 2**64 - 1
    code = b""
    while number > 127:
        code += bytes([number & 127 | 128])
        number >>= 7
    return code + bytes([number])


def message(number, data):
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def feature(value, packed=True):
    """Bytes, a list of bytes, or numbers."""
    if isinstance(value, bytes | list):
        values = value if isinstance(value, list) else [value]
        return message(1, b"".join(message(1, one) for one in values))
    numbers = np.asarray(value).reshape(-1)
    if numbers.dtype.kind == "f":
        coded = [struct.pack("<f", one) for one in numbers.tolist()]
        kind, wire = 2, 5
    else:
        coded = [varint(one) for one in numbers.tolist()]
        kind, wire = 3, 0
    tag = varint(1 << 3 | wire)
    return message(kind, message(1, b"".join(coded)) if packed else tag.join([b"", *coded]))


def example(features, packed=True):
    """A tf.train.Example of values by name."""
    entries = (
        message(1, message(1, name.encode()) + message(2, feature(value, packed)))
        for name, value in features.items()
    )
    return message(1, b"".join(entries))
