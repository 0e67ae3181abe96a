"""Folding: long names in lines that fit, so that nothing of them is cut."""

import re

_BEHIND = re.compile(r"(?<=[ _])|(?<=,)(?! )|(?<=-)(?=[A-Za-z])")  # not behind the sign of 1e-3


def fold(text: str, width: int) -> list[str]:
    """Lines of at most `width` letters; broken between the parts of a name where that can be, else anywhere."""
    lines = [""]
    for part in _BEHIND.split(text):
        for piece in (part[at : at + width] for at in range(0, len(part), width)):
            if len(lines[-1]) + len(piece) > width:
                lines.append("")
            lines[-1] += piece
    return lines
