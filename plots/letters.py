"""Letters: fonts for those that the style sheet's own has not, as names from other scripts may have."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from warnings import catch_warnings, filterwarnings, warn

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from edgesim.errors import EdgesimWarning

_NO_LETTERS = "Last Resort"  # families of fonts that have a box for everything


def families(figure: Figure) -> list[str]:
    """The installed fonts to add for what is written in a figure; none where the usual one has all of it.

    Warns of letters that no font has: boxes stand for them.
    """
    written = {letter for text in figure.findobj(Text) if isinstance(text, Text) for letter in text.get_text()}
    found, without = _families(findfont(FontProperties()), frozenset(written))
    if without:
        _tell(without[0])
    return list(found)


@cache  # once is enough, however many figures there are
def _tell(letter: str) -> None:
    warn(
        f"boxes stand for {letter!r} and any other letter that no installed font has; install one that has them, e.g. "
        "one of Google's Noto fonts, or give variants other names",
        EdgesimWarning,
        stacklevel=4,
    )


@contextmanager
def no_warnings_of_boxes() -> Iterator[None]:
    """Be silent about each letter that no font has: `families` has said it."""
    with catch_warnings():
        filterwarnings("ignore", message=r"Glyph \d+ .*missing from font", category=UserWarning)
        yield


@lru_cache(maxsize=64)
def _families(usual: str, written: frozenset[str]) -> tuple[tuple[str, ...], list[str]]:
    """Fonts, those with most of the letters first, and the letters that are left."""
    left = _missing(usual, {letter for letter in written if letter.isprintable()})
    fonts = _fonts() if left else []
    found: list[str] = []
    while left:
        name, rest = min(((name, _missing(path, left)) for name, path in fonts), key=lambda font: len(font[1]))
        if rest == left:
            break
        found, left = [*found, name], rest
    return tuple(found), sorted(left)


def _fonts() -> list[tuple[str, str]]:
    """The installed families, and the file of each one's plain letters, or of what comes next to them."""
    plain = {f.name: f.fname for f in sorted(fontManager.ttflist, key=lambda f: (f.style == "normal", f.weight == 400))}
    return [(name, plain[name]) for name in sorted(plain) if not name.startswith(_NO_LETTERS)]


def _missing(path: str, letters: set[str]) -> set[str]:
    """Of these letters, those that a font has not; all of them where it cannot be read."""
    with suppress(OSError, RuntimeError):
        font = FT2Font(path)
        return {letter for letter in letters if not font.get_char_index(ord(letter))}
    return letters
