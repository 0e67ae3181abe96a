"""Codecs: how tensors become bytes on the wire, and how many.

A message is a LEB128 count of parts, then each part: one byte that names its form, the mask, the values.

    form      mask on the wire                                           bytes of the mask
    DENSE     none; all values follow                                    0
    BITMAP    one bit a weight, lowest bit first                         ⌈N/8⌉
    ON        LEB128 count, then LEB128 gaps between active places       about one per active weight
    OFF       the same for the inactive places; nearly free when full    about one per inactive weight
    KNOWN     none: the receiver has the mask                            0

The flag LEVELS beside VALUES says that the values are quantised: a LEB128 count s of levels, the unit u as a float32,
and for each value the number v/u + s, from 0 to 2s, in as few bits as hold 2s; v/u is whole.

A gap is the number of places skipped, from the start or the place before. Values are float32, little endian,
in order of place: all of them when DENSE, else the active ones; the flag VALUES in the form byte says
whether they follow. The shortest form is chosen, on a tie the first in the table. Lengths depend on masks
and shapes only, never on values, so that simulated time does not depend on rounding in training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgesim.learning.tree import Shape
from edgesim.learning.wire import Reader, gaps_most, leb128, leb128_length, leb128_lengths, packed, packed_length

DENSE, BITMAP, ON, OFF, KNOWN = range(5)
VALUES = 8
LEVELS = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One tensor of a message.

    Attributes: values, float32 [*shape], of which those under the mask travel, or None: only the mask does;
    mask, bool [*shape], or None: all values travel; mask_known, whether the receiver has the mask already;
    levels, s of quantised values, which are whole multiples −s … s of the unit, or 0: float32 values travel;
    most, how many values an unknown mask can have on, whatever they are, or None: any number.
    """

    values: Tensor | None
    mask: Tensor | None
    mask_known: bool
    levels: int = 0
    unit: float = 0.0
    most: int | None = None

    def __post_init__(self) -> None:
        values, mask = self.values, self.mask
        if values is not None and values.dtype != torch.float32:
            raise ValueError(f"values are {values.dtype}; torch.float32 is wanted")
        if mask is not None and mask.dtype != torch.bool:
            raise ValueError(f"the mask is {mask.dtype}; torch.bool is wanted")
        if values is not None and mask is not None and values.shape != mask.shape:
            raise ValueError(f"values are {list(values.shape)} and their mask {list(mask.shape)}: they must agree")
        if self.mask_known and mask is None:
            raise ValueError("a known mask must be given, since it says which values travel")
        if values is None and (mask is None or self.mask_known):
            raise ValueError("a part without values must carry a mask that the receiver does not know")


class _Plan(NamedTuple):
    """How a part is sent: form, bytes of its mask, number of values, gaps between places for ON and OFF."""

    form: int
    mask_bytes: int
    values: int
    gaps: NDArray[np.int64] | None = None


def size(parts: Sequence[Part]) -> int:
    """Bytes of `encode(parts)`, without encoding."""
    total = leb128_length(len(parts)) + len(parts)
    for part in parts:
        plan = _plan(part)
        total += plan.mask_bytes + _values_bytes(part, plan.values)
    return total


def longest(parts: Sequence[Part]) -> int:
    """The most bytes that these parts can take, whatever the masks are that the receiver does not know."""
    total = leb128_length(len(parts)) + len(parts)
    for part in parts:
        if part.mask is None or part.mask_known:
            mask_bytes, values = 0, _plan(part).values
        else:  # no form is longer than a bitmap, nor than a list of places
            values = part.mask.numel() if part.most is None else part.most
            listed = leb128_length(values) + gaps_most(values, part.mask.numel())
            mask_bytes = min(-(-part.mask.numel() // 8), listed)
        total += mask_bytes + _values_bytes(part, values)
    return total


def _values_bytes(part: Part, count: int) -> int:
    if part.values is None:
        return 0
    if part.levels:
        return leb128_length(part.levels) + 4 + packed_length(count, _bits(part.levels))
    return 4 * count


def _bits(levels: int) -> int:
    """Of a number from 0 to twice the levels."""
    return (2 * levels).bit_length()


def encode(parts: Sequence[Part]) -> bytes:
    """The message; the layout is at the top of this file."""
    pieces = [leb128(np.array([len(parts)]))]
    for part in parts:
        plan = _plan(part)
        flags = 0 if part.values is None else VALUES | (LEVELS if part.levels else 0)
        pieces.append(bytes([plan.form | flags]))
        if part.mask is not None and plan.form == BITMAP:
            pieces.append(np.packbits(_flat(part.mask), bitorder="little").tobytes())
        if plan.gaps is not None:
            pieces += [leb128(np.array([len(plan.gaps)])), leb128(plan.gaps)]
        if part.values is not None:
            values = _flat(part.values)
            sent = values if part.mask is None else values[_flat(part.mask)]
            pieces.append(_quantised(part, sent) if part.levels else sent.astype("<f4", copy=False).tobytes())
    return b"".join(pieces)


def decode(data: bytes, shapes: Sequence[Shape], known_masks: Sequence[Tensor | None]) -> list[Part]:
    """The parts of a message: values are 0 where they did not travel.

    shapes and known_masks have one entry a part; a mask is None where the receiver knows none. Raises
    ValueError, with the place, for a message that is cut short, too long, or does not fit the shapes.
    """
    reader = Reader(data)
    count = int(reader.numbers(1)[0])
    if not count == len(shapes) == len(known_masks):
        raise ValueError(
            f"the message holds {count} parts; {len(shapes)} shapes and {len(known_masks)} masks were given"
        )
    parts = [_part(reader, tuple(shape), mask) for shape, mask in zip(shapes, known_masks, strict=True)]
    reader.check_end()
    return parts


def _plan(part: Part) -> _Plan:
    if part.mask is None:
        return _Plan(DENSE, 0, 0 if part.values is None else part.values.numel())
    on = _flat(part.mask)
    active = int(np.count_nonzero(on))
    if part.mask_known:
        return _Plan(KNOWN, 0, active)
    best = _Plan(BITMAP, -(-on.size // 8), active)
    for form, count in ((ON, active), (OFF, on.size - active)):
        # A gap takes a byte at least, so most masks are settled without looking at their places.
        if leb128_length(count) + count < best.mask_bytes:
            gaps = np.diff(np.flatnonzero(on if form == ON else ~on), prepend=-1) - 1
            length = leb128_length(count) + int(leb128_lengths(gaps).sum())
            if length < best.mask_bytes:
                best = _Plan(form, length, active, gaps)
    return best


def _part(reader: Reader, shape: Shape, known: Tensor | None) -> Part:
    where, kind = reader.at, reader.byte()
    form, has_values = kind & ~(VALUES | LEVELS), bool(kind & VALUES)
    total = prod(shape)
    if form == DENSE and has_values:
        flat, levels, unit = _values(reader, total, kind)
        return Part(values=_tensor(flat, shape), mask=None, mask_known=False, levels=levels, unit=unit)
    mask = _mask(reader, form, total, shape, known, where)
    values, levels, unit = None, 0, 0.0
    if has_values:
        flat = np.zeros(total, np.float32)
        flat[mask], levels, unit = _values(reader, int(np.count_nonzero(mask)), kind)
        values = _tensor(flat, shape)
    return Part(values=values, mask=_tensor(mask, shape), mask_known=form == KNOWN, levels=levels, unit=unit)


def _quantised(part: Part, values: NDArray[Any]) -> bytes:
    levels = np.rint(values / np.float32(part.unit)).astype(np.int64) if part.unit else np.zeros(len(values), np.int64)
    unit = np.array([part.unit], "<f4").tobytes()
    return leb128(np.array([part.levels])) + unit + packed(levels + part.levels, _bits(part.levels))


def _values(reader: Reader, count: int, kind: int) -> tuple[NDArray[np.float32], int, float]:
    """Values, and the levels and the unit of quantised ones."""
    if not kind & LEVELS:
        return reader.floats(count), 0, 0.0
    levels = int(reader.numbers(1)[0])
    unit = reader.floats(1)[0]
    numbers = reader.packed(count, _bits(levels)) - levels
    return numbers.astype(np.float32) * unit, levels, float(unit)


def _mask(reader: Reader, form: int, total: int, shape: Shape, known: Tensor | None, where: int) -> NDArray[np.bool_]:
    if form == BITMAP:
        return np.unpackbits(reader.bytes(-(-total // 8)), count=total, bitorder="little").astype(bool)
    if form == KNOWN:
        if known is None or tuple(known.shape) != shape:
            raise ValueError(f"byte {where}: the part of shape {list(shape)} needs the mask that both sides know")
        return _flat(known).copy()
    if form not in (ON, OFF):
        raise ValueError(f"byte {where}: {form} is no form of a part with a mask")
    places = np.cumsum(reader.numbers(int(reader.numbers(1)[0])) + 1) - 1
    if len(places) and not 0 <= places[-1] < total:
        raise ValueError(f"byte {where}: place {places[-1]} lies outside a tensor of {total} values")
    mask = np.full(total, form == OFF)
    mask[places] = form == ON
    return mask


def _flat(tensor: Tensor) -> NDArray[np.bool_]:
    flat: NDArray[np.bool_] = tensor.detach().cpu().numpy().reshape(-1)
    return flat


def _tensor(flat: NDArray[np.bool_] | NDArray[np.float32], shape: Shape) -> Tensor:
    return torch.from_numpy(flat).reshape(shape)
