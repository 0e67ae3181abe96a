"""Codecs: what is decoded is what was encoded, and the length is known without encoding."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgesim.learning.codecs import BITMAP, DENSE, KNOWN, OFF, ON, VALUES, Part, decode, encode, longest, size
from edgesim.learning.wire import Reader, gaps_most, leb128, leb128_length, leb128_lengths

SHAPES: list[tuple[int, ...]] = [(), (1,), (3, 5), (8, 9, 2), (0, 4), (4000,)]
DENSITIES = [0.0, 0.002, 0.01, 0.3, 0.97, 1.0]


@st.composite
def any_part(draw: st.DrawFn) -> Part:
    shape = draw(st.sampled_from(SHAPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["dense", "masked", "known", "mask only", "quantised"]))
    values = torch.from_numpy(np.asarray(rng.standard_normal(shape), np.float32))
    if kind == "dense":
        return Part(values=values, mask=None, mask_known=False)
    mask = torch.from_numpy(np.asarray(rng.random(shape) < draw(st.sampled_from(DENSITIES))))
    if kind == "quantised":
        levels, unit = draw(st.sampled_from([1, 4, 127, 1000])), float(np.float32(rng.random()))
        whole = torch.from_numpy(np.asarray(rng.integers(-levels, levels + 1, shape), np.float32))
        values, known = whole * unit, draw(st.booleans())
        if draw(st.booleans()):
            return Part(values=values, mask=None, mask_known=False, levels=levels, unit=unit)
        return Part(values=values * mask, mask=mask, mask_known=known, levels=levels, unit=unit)
    if kind == "mask only":
        return Part(values=None, mask=mask, mask_known=False)
    return Part(values=values * mask, mask=mask, mask_known=kind == "known")


def same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else a.dtype == b.dtype and torch.equal(a, b)


def round_trip(parts: list[Part]) -> list[Part]:
    shapes = [tuple((p.values if p.values is not None else p.mask).shape) for p in parts]  # type: ignore[union-attr]
    return decode(encode(parts), shapes, [p.mask if p.mask_known else None for p in parts])


@given(st.lists(any_part(), max_size=4))
def test_decoding_gives_back_every_part_and_size_is_the_length(parts: list[Part]) -> None:
    assert size(parts) == len(encode(parts))
    for sent, got in zip(parts, round_trip(parts), strict=True):
        assert same(sent.values, got.values)
        assert same(sent.mask, got.mask)
        assert sent.mask_known == got.mask_known
        assert (sent.levels, sent.unit) == (got.levels, got.unit)


def mask_of(total: int, places: list[int]) -> Tensor:
    mask = torch.zeros(total, dtype=torch.bool)
    mask[places] = True
    return mask


def dense(values: int) -> Part:
    return Part(values=torch.ones(values), mask=None, mask_known=False)


@pytest.mark.parametrize(
    ("part", "form", "length"),
    [
        # 1 byte for the number of parts, 1 for the form, then the mask, then 4 a value
        (Part(values=torch.ones(100), mask=None, mask_known=False), DENSE | VALUES, 2 + 400),
        (
            Part(values=torch.ones(100), mask=mask_of(100, [*range(50)]), mask_known=False),
            BITMAP | VALUES,
            2 + 13 + 200,
        ),
        (Part(values=torch.ones(100), mask=mask_of(100, [3, 99]), mask_known=False), ON | VALUES, 2 + 3 + 8),
        (
            Part(values=torch.ones(100), mask=~mask_of(100, [3, 99]), mask_known=False),
            OFF | VALUES,
            2 + 3 + 392,
        ),
        (Part(values=torch.ones(100), mask=~mask_of(100, []), mask_known=False), OFF | VALUES, 2 + 1 + 400),
        (Part(values=torch.ones(100), mask=mask_of(100, [3, 99]), mask_known=True), KNOWN | VALUES, 2 + 8),
        (Part(values=None, mask=mask_of(100, [*range(50)]), mask_known=False), BITMAP, 2 + 13),
        (Part(values=None, mask=mask_of(100, [3, 99]), mask_known=False), ON, 2 + 3),
        (Part(values=None, mask=mask_of(100, []), mask_known=False), ON, 2 + 1),
        (Part(values=None, mask=~mask_of(100, [3]), mask_known=False), OFF, 2 + 2),
        # 122 places, of which 7 lie behind gaps of 128, two bytes each: 1 + 129 exceed the bitmap's 128
        (
            Part(values=None, mask=mask_of(1024, [*range(128, 903, 129), *range(903, 1018)]), mask_known=False),
            BITMAP,
            2 + 128,
        ),
        # a gap of 300 takes two bytes of LEB128
        (Part(values=None, mask=mask_of(1000, [300]), mask_known=False), ON, 2 + 3),
    ],
)
def test_each_form_is_reached_and_has_the_length_of_its_layout(part: Part, form: int, length: int) -> None:
    data = encode([part])
    assert data[1] == form
    assert len(data) == size([part]) == length


def test_the_bytes_of_a_sparse_part_are_as_documented() -> None:
    """One part; form ON with values (2 | 8); 2 places; gaps 1 and 300 = 0b10·128 + 44; 1.0 and -2.0."""
    values = torch.zeros(400)
    values[1], values[302] = 1.0, -2.0
    data = encode([Part(values=values, mask=mask_of(400, [1, 302]), mask_known=False)])
    assert data == bytes([1, 10, 2, 1, 0x80 | 44, 2]) + np.array([1.0, -2.0], "<f4").tobytes()


def test_half_the_density_takes_half_the_bytes_when_the_mask_is_known() -> None:
    parts = {n: [Part(values=torch.ones(1000), mask=mask_of(1000, [*range(n)]), mask_known=True)] for n in (250, 500)}
    assert size(parts[500]) - 2 == 2 * (size(parts[250]) - 2) == 2000


def test_the_length_does_not_depend_on_values() -> None:
    mask = torch.arange(1000) % 3 == 0
    zeros, ones = torch.zeros(1000), torch.ones(1000)
    lengths = {size([Part(values=v, mask=mask, mask_known=False)]) for v in (zeros, ones, ones * torch.nan)}
    assert lengths == {2 + 125 + 4 * 334}


def test_no_mask_is_longer_than_its_bitmap() -> None:
    rng = np.random.default_rng(0)
    for density in np.linspace(0, 1, 41):
        mask = torch.from_numpy(rng.random(4000) < density)
        assert size([Part(values=None, mask=mask, mask_known=False)]) <= 2 + 500


@pytest.mark.parametrize("levels", [0, 3])
@pytest.mark.parametrize("most", [None, 0, 2, 5])
def test_no_mask_takes_more_than_the_longest(most: int | None, levels: int) -> None:
    """All masks of nine weights, with so many on; where any number can be, all on is nearly as long as the bound."""

    def part(mask: Tensor, values: bool, most: int | None = None) -> Part:
        what = torch.zeros(9) if values else None
        return Part(values=what, mask=mask, mask_known=False, levels=levels if values else 0, unit=1.0, most=most)

    every = [torch.tensor([bool(bits >> place & 1) for place in range(9)]) for bits in range(512)]
    for values in (True, False):
        lengths = [size([part(mask, values)]) for mask in every if most is None or int(mask.sum()) <= most]
        bound = longest([part(torch.zeros(9).bool(), values, most)])
        assert bound == max(lengths) + (1 if values and most is None else 0)


def test_the_longest_list_of_places_has_long_gaps() -> None:
    """Four places behind gaps of 128: a count of one byte and four of two. A mask that is known takes nothing."""
    far = mask_of(1000, [128, 257, 386, 515])
    unknown = Part(values=torch.ones(1000), mask=far, mask_known=False, most=4)
    known = Part(values=torch.ones(1000), mask=far, mask_known=True)
    assert longest([unknown]) == size([unknown]) == 2 + 1 + 8 + 16
    assert longest([unknown, known, dense(3)]) == size([unknown, known, dense(3)]) == 4 + 9 + 16 + 16 + 12


def test_many_parts_are_counted_in_two_bytes() -> None:
    parts = [dense(1)] * 200
    assert len(encode(parts)) == size(parts) == longest(parts) == 2 + 200 * 5
    assert len(round_trip(parts)) == 200


@pytest.mark.parametrize(
    ("values", "mask", "known", "message"),
    [
        (
            torch.ones(3, dtype=torch.float64),
            None,
            False,
            "values are torch.float64; torch.float32 is wanted",
        ),
        (torch.ones(3), torch.ones(3), False, "the mask is torch.float32; torch.bool is wanted"),
        (torch.ones(3), torch.ones(4, dtype=torch.bool), False, r"values are \[3\] and their mask \[4\]"),
        (torch.ones(3), None, True, "a known mask must be given"),
        (None, None, False, "must carry a mask that the receiver does not know"),
        (None, torch.ones(3, dtype=torch.bool), True, "must carry a mask that the receiver does not know"),
    ],
)
def test_impossible_parts_are_refused(values: Tensor | None, mask: Tensor | None, known: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Part(values=values, mask=mask, mask_known=known)


def test_broken_messages_are_refused() -> None:
    part = Part(values=torch.ones(100), mask=mask_of(100, [3, 99]), mask_known=False)
    data = encode([part])
    for cut in range(len(data)):
        with pytest.raises(ValueError, match="cut short"):
            decode(data[:cut], [(100,)], [None])
    for message, wrong, shapes in [
        ("1 bytes too many", data + b"\0", [(100,)]),
        ("holds 1 parts; 2 shapes", data, [(100,), (3,)]),
        ("place 99 lies outside a tensor of 50 values", data, [(50,)]),
        ("5 is no form of a part with a mask", bytes([1, 5]), [(100,)]),
        ("needs the mask that both sides know", bytes([1, KNOWN | VALUES]), [(100,)]),
    ]:
        with pytest.raises(ValueError, match=message):
            decode(wrong, shapes, [None] * len(shapes))


@given(st.lists(st.integers(0, 2**62)))
def test_leb128_numbers_come_back(numbers: list[int]) -> None:
    array = np.array(numbers, np.int64)
    data = leb128(array)
    reader = Reader(data)
    assert reader.numbers(len(numbers)).tolist() == numbers
    reader.check_end()
    assert leb128_lengths(array).tolist() == [leb128_length(number) for number in numbers]
    assert len(data) == sum(leb128_length(number) for number in numbers)


def test_an_endless_number_is_refused() -> None:
    with pytest.raises(ValueError, match="a number of 10 bytes is too long"):
        Reader(b"\xff" * 9 + b"\1" + b"\0" * 20).numbers(2)


@given(st.integers(1, 40_000), st.data())
def test_gaps_take_no_more_than_their_most(places: int, data: st.DataObject) -> None:
    """Wherever the marked places lie; some are so far apart that each gap takes two bytes or three."""
    apart = data.draw(st.sampled_from([1, 2, 129, 16_385]))
    drawn = data.draw(st.lists(st.integers(0, places - 1), max_size=30))
    marked = np.unique([*drawn, *range(apart - 1, places, apart)] if places // apart < 500 else drawn).astype(np.int64)
    gaps = np.diff(marked, prepend=-1) - 1
    assert int(leb128_lengths(gaps).sum()) <= gaps_most(len(gaps), places)


def test_so_many_gaps_can_be_as_long_as_their_most() -> None:
    """1,290 places hold ten gaps of 128, two bytes each; an eleventh place takes one byte."""
    assert gaps_most(10, 1_290) == int(leb128_lengths(np.full(10, 128)).sum()) == 20
    assert gaps_most(11, 1_291) == 21
