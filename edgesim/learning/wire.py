"""The bytes of a message: LEB128 numbers (7 bits a byte, lowest first, high bit: more follow) and arrays."""

import numpy as np
from numpy.typing import NDArray

_LONGEST = 9  # bytes of a number below 2**63


def leb128_length(number: int) -> int:
    """Bytes of one number ≥ 0."""
    return max(1, -(-number.bit_length() // 7))


def leb128_lengths(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bytes of each number ≥ 0, [n]."""
    lengths = np.ones(len(numbers), np.int64)
    largest = int(numbers.max(initial=0))
    for bits in range(7, max(8, largest.bit_length()), 7):
        lengths += numbers >= 1 << bits
    return lengths


def gaps_most(count: int, places: int) -> int:
    """The most bytes of so many gaps, or fewer, between some of so many places: few can be long, for all fit in."""
    total, long = 0, places
    while long and count:
        total += min(count, long)
        long //= 128
    return total


def leb128(numbers: NDArray[np.int64]) -> bytes:
    """The numbers [n], each ≥ 0, one after the other."""
    lengths = leb128_lengths(numbers)
    start = np.cumsum(lengths) - lengths
    out = np.empty(int(lengths.sum()), np.uint8)
    for byte in range(int(lengths.max(initial=0))):
        here = lengths > byte
        more = (lengths[here] > byte + 1).astype(np.int64) << 7
        out[start[here] + byte] = (numbers[here] >> (7 * byte)) & 0x7F | more
    return out.tobytes()


def packed_length(count: int, bits: int) -> int:
    """Bytes of so many numbers of so many bits."""
    return -(-count * bits // 8)


def packed(numbers: NDArray[np.int64], bits: int) -> bytes:
    """The numbers [n], each in `bits` bits, lowest bit first."""
    places = np.arange(bits)
    return np.packbits((numbers[:, None] >> places) & 1, bitorder="little").tobytes()


class Reader:
    """Reads a message from its start. Each method raises ValueError, with the place, when it is cut short."""

    def __init__(self, data: bytes) -> None:
        self._data = np.frombuffer(data, np.uint8)
        self.at = 0

    def bytes(self, count: int) -> NDArray[np.uint8]:
        """The next bytes, [count]."""
        taken = self._data[self.at : self.at + count]
        if len(taken) < count:
            raise self._short(count)
        self.at += count
        return taken

    def byte(self) -> int:
        """The next byte."""
        return int(self.bytes(1)[0])

    def floats(self, count: int) -> NDArray[np.float32]:
        """The next float32 values, [count]; a copy."""
        return self.bytes(4 * count).view("<f4").astype(np.float32)

    def numbers(self, count: int) -> NDArray[np.int64]:
        """The next LEB128 numbers, [count]."""
        window = self._data[self.at : self.at + _LONGEST * count]
        last = np.flatnonzero(window < 0x80)[:count]
        if len(last) < count:
            raise self._short(count)
        first = np.concatenate([[0], last[:-1] + 1])[:count]
        lengths = last - first + 1
        if count and lengths.max() > _LONGEST:
            raise ValueError(f"byte {self.at}: a number of {lengths.max()} bytes is too long")
        numbers = np.zeros(count, np.int64)
        for byte in range(int(lengths.max(initial=0))):
            here = lengths > byte
            numbers[here] |= (window[first[here] + byte].astype(np.int64) & 0x7F) << (7 * byte)
        self.at += int(lengths.sum())
        return numbers

    def packed(self, count: int, bits: int) -> NDArray[np.int64]:
        """The next numbers of `bits` bits each, [count]."""
        data = self.bytes(packed_length(count, bits))
        each = np.unpackbits(data, count=count * bits, bitorder="little").reshape(count, bits).astype(np.int64)
        numbers: NDArray[np.int64] = (each << np.arange(bits)).sum(1)
        return numbers

    def check_end(self) -> None:
        """Raise ValueError unless everything has been read."""
        if self.at != len(self._data):
            raise ValueError(f"byte {self.at}: {len(self._data) - self.at} bytes too many at the end")

    def _short(self, count: int) -> ValueError:
        return ValueError(f"byte {self.at}: cut short, {count} more items were expected")
