"""Labels: the directory name of each run of a sweep, made of what varies and of nothing else."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from edgesim.scenario.sweeps import Axis

LONGEST = 120
"""Bytes of a name, of which file systems allow 255."""
_LONG = 60
"""Where the text of an entry is longer, the entries of that key are numbered instead, unless they are choices."""
_CHOICES = {"algorithm", "schedule", "selector", "dataset", "model", "partition", "availability", "staleness"}
_UNSAFE = re.compile(r"[^\w.=,+-]+")


def parts(axes: Sequence[Axis]) -> list[list[str]]:
    """The text of each entry of each axis: [axis][entry], distinct within an axis."""
    last = [str(axis.path[-1]) for axis in axes]
    names = [axis.name if last.count(short) > 1 else short for axis, short in zip(axes, last, strict=True)]
    return [_distinct(_entries(axis, name)) for axis, name in zip(axes, names, strict=True)]


def join(texts: Sequence[str]) -> str:
    """One directory name; a long one is cut and ends in a digest of the whole."""
    label = "_".join(texts)
    if len(label.encode()) <= LONGEST:
        return label
    return f"{_cut(label, LONGEST - 9)}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def _entries(axis: Axis, name: str) -> list[str]:
    if axis.titles:
        return [safe(f"{name}={title}") for title in axis.titles]
    values = [entry.data for entry in axis.entries]
    is_choice = axis.path[-1] in _CHOICES
    if is_choice:
        values = [{"name": value} if isinstance(value, str) else value for value in values]
    texts = [safe(_entry(value, values, name)) for value in values]
    if not is_choice and max(map(len, texts)) > _LONG:
        return [safe(f"{name}={number}") for number in range(1, len(values) + 1)]
    return texts


def _entry(value: Any, values: Sequence[Any], name: str) -> str:
    """A choice by its name and what sets it apart from others of that name; else key=value."""
    if not isinstance(value, dict):
        return f"{name}={_text(value)}"
    title = _title(value)
    alike = [other for other in values if isinstance(other, dict) and _title(other) == title]
    choices = [key for key in value if key not in ("name", "kind")]
    differing = [key for key in choices if any(other.get(key) != value[key] for other in alike)]
    return "-".join([*([title] if title else []), *(f"{key}={_text(value[key])}" for key in differing)]) or name


def _title(value: dict[str, Any]) -> str:
    name = str(value.get("name", value.get("kind", "")))
    return name.rpartition(":")[2]  # ./mine.py:Half is called Half


def _text(value: Any) -> str:
    if isinstance(value, dict):
        rest = [f"{key}={_text(item)}" for key, item in value.items() if key not in ("name", "kind")]
        return "-".join([*([_title(value)] if _title(value) else []), *rest])
    if isinstance(value, list):
        return ",".join(_text(item) for item in value)
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def safe(text: str) -> str:
    """The text with only what every file system allows: letters and digits of any script, and a few signs."""
    # ü as one character, and not as u and two dots: some file systems would take them for the same, others not
    return _cut(_UNSAFE.sub("-", unicodedata.normalize("NFC", text)).strip("-."), LONGEST) or "entry"


def _cut(text: str, size: int) -> str:
    """As many whole characters as that many bytes hold."""
    return text.encode()[:size].decode(errors="ignore")


def _distinct(texts: list[str]) -> list[str]:
    """Number those that came out equal, also where a file system takes a and A for the same."""
    seen: dict[str, int] = {}
    made = []
    for text in texts:
        seen[text.casefold()] = seen.get(text.casefold(), 0) + 1
        made.append(text if seen[text.casefold()] == 1 else f"{text}+{seen[text.casefold()]}")
    return made
