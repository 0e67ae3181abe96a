"""What YAML's parser cannot read, in plain words, at the place where its author has to look."""

import re

from ruamel.yaml.error import MarkedYAMLError, StreamMark

_PLAIN = {
    "found character '\\t' that cannot start any token": "a tab; indent with spaces",
    "but found another document": "a second document; keep one document in a file",
}
_NO_SPACE = re.compile(r"([\s-]*)([\w.-]+):([^\s/].*)")


def plainly(error: MarkedYAMLError, text: str) -> tuple[StreamMark | None, str]:
    """The place to look at, and what is wrong there."""
    what, mark, begun = error.problem or "cannot be read", error.problem_mark, error.context_mark
    match error.context, what:
        case _, what if what in _PLAIN:
            return mark, _PLAIN[what]
        case "while parsing a flow mapping" | "while parsing a flow sequence", _:
            sign = "{" if str(error.context).endswith("mapping") else "["
            return begun, f"this {sign} is not closed, or a comma is missing, before {mark.line + 1}:{mark.column + 1}"
        case "while scanning a quoted scalar", _:
            return begun, "this quote is not closed"
        case "while scanning for the next token", _:
            return mark, f"a value cannot begin with {text[mark.index]}; put it into quotes"
        case _, "expected <block end>, but found ']'" | "expected <block end>, but found '}'":
            return mark, f"this {text[mark.index]} closes nothing; remove it"
        case _, "expected <block end>, but found '?'" | "expected <block end>, but found '-'":
            return mark, "a key and a '- ' in one column; indent what belongs to the other"
        case _, what if what.startswith("expected '<document start>'"):
            return mark, "this belongs to nothing before it; write key: value, each on its line"
        case _, what if what.startswith("expected <block end>"):
            return mark, "indented unlike the lines around it; begin it in the column of its neighbours"
        case "while scanning a simple key", "could not find expected ':'":
            return _continued(text.splitlines(), begun.line, begun.column)
        case None, "mapping values are not allowed here":
            return _continued(text.splitlines(), mark.line, mark.column)
    return mark, what


def _continued(lines: list[str], number: int, column: int) -> tuple[StreamMark, str]:
    """A line that goes on with a value where a key was meant, that line or the one above it being at fault."""
    if ": " in lines[number][:column]:
        return _mark(number, column), "a value with ': ' in it; put it into quotes"
    above = next((n for n in range(number - 1, -1, -1) if lines[n].split("#")[0].strip()), number)
    for at in (number, above):
        if found := _NO_SPACE.fullmatch(lines[at]):
            return _mark(at, len(found[1])), f"no space after the colon; write {found[2]}: {found[3]}"
    indent = len(lines[number]) - len(lines[number].lstrip())
    return _mark(number, indent), (
        f"this goes on with the text of line {above + 1}; begin it in the column of its neighbours, and write key: …"
    )


def _mark(line: int, column: int) -> StreamMark:
    return StreamMark("", 0, line, column)
