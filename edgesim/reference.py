"""Reference: the scenario file as a page for people, made from the schema that editors use.

One section a mapping, one row a key. Nothing is written by hand that the schema knows.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from edgesim import units

Node: TypeAlias = Mapping[str, Any]

_HEAD = """# Scenario reference

<!-- Made by `make docs` from the schema in edgesim/scenario/; do not edit. -->

A scenario is one YAML file. Every key that it may have is listed here; any other is an error, which names the
line and the nearest key that there is. `edgesim validate FILE` checks a file without running it, and
`--set key.path=value` replaces a value for one run, e.g. `--set training.lr=0.05` or `--set fleet.0.share=1`.

- **Quantities are text with a unit**; a bare number is refused. A share is a plain number or a percentage.
- **A choice** is a name (`fedspa`) or a mapping with the name and its parameters (`{name: fedspa, density: 0.2}`).
- **What is the same** in several mappings can be written once: `- &board {device: …, link: …, share: 0.5}`, then
  `- {<<: *board, share: 0.2}`, which is the first but for its share.
- **Paths** count from the folder of the scenario file.
- **A default** of *required* means that there is none; *none* means that the key may be left out, and then nothing
  is set; *as below* means that the whole mapping may be left out.
- **A sweep** makes many runs of one file: `sweep: {task.model: [mlp, cnn], training.lr: [0.1, 0.05], seed: [0, 1]}`
  runs all eight combinations, each into a directory of its own. What is swept need not stand elsewhere; `name` and
  `execution` cannot be swept; runs that differ in `seed` only are repetitions of one *variant*. Directories and figures
  call a run by what varies; values that are lists or mappings can be given names for that:
  `sweep: {fleet: {homes: [{device: …}, …], works: [{device: …}]}}` makes `fleet=homes` and `fleet=works`, and without
  names `fleet=1` and `fleet=2`, if that would be long.

| kind | units |
|---|---|
"""


_SHARE = "share (`0.3`, `30 %`)"


def markdown(schema: Node) -> str:
    """The page, a pure function of `json_schema()`."""
    page = _Page(schema)
    return "\n".join([_HEAD + "\n".join(_units()), *page.section("The file", schema, ())]).rstrip() + "\n"


def _units() -> Iterator[str]:
    for kind, table in units.TABLE.items():
        spellings = ", ".join(f"`{unit}`" for unit in table if unit)
        yield f"| {kind}, e.g. `{units.EXAMPLES[kind]}` | {spellings} |"


class _Page:
    """Sections in the order in which their keys stand, each once."""

    def __init__(self, schema: Node) -> None:
        self._defs: Node = schema["$defs"]

    def section(self, title: str, node: Node, path: tuple[str, ...]) -> Iterator[str]:
        """Heading, description and table of a mapping, then the sections of its parts."""
        yield f"\n{'#' * min(2 + len(path), 4)} {title}\n"
        if node.get("description"):
            yield f"{_prose(node['description'])}\n"
        keys = {key: part for key, part in node.get("properties", {}).items() if not _is_tag(key, part)}
        if keys:
            yield "| key | value | default | meaning |\n|---|---|---|---|"
            yield from (self._row(key, part, key in _required(node), path) for key, part in keys.items())
        elif path:
            yield "No further keys."
        for key, part in keys.items():
            for tag, option in self._mappings(part):
                yield from self.section(_title((*path, key), tag), option, (*path, key))

    def _row(self, key: str, node: Node, required: bool, path: tuple[str, ...]) -> str:
        default = "required" if required else _default(node)
        meaning = _cell(node.get("description", ""))
        return f"| `{key}` | {', '.join(self._values(node, (*path, key)))} | {default} | {meaning} |"

    def _values(self, node: Node, path: tuple[str, ...]) -> list[str]:
        """What a key may hold, each kind of value once."""
        found: dict[str, None] = {}
        tagged = [tag for tag, _ in self._mappings(node)]
        for option in self._options(node):
            if option.get("type") == "array" and "items" in option:
                inner = " or ".join(self._values(option["items"], path))
                found[f"list of {inner}"] = None
            elif "properties" in option:
                tag = _tag(option)
                if tag is not None or not tagged or "additionalProperties" in option:
                    title = _title(path, tag)
                    found[f"[{tag or 'mapping'}](#{anchor(title)})"] = None
            elif "enum" in option:
                found.update(dict.fromkeys(f"`{word}`" for word in option["enum"] if word not in tagged))
            else:
                found.update(dict.fromkeys(_scalar(option)))
        if _SHARE in found:  # a share is also a plain number
            found = {_SHARE: None}
        return list(found)

    def _options(self, node: Node) -> Iterator[Node]:
        """A node with its references followed and its alternatives laid flat; null left out."""
        if "$ref" in node:
            yield from self._options(self._defs[node["$ref"].rpartition("/")[2]])
        elif "anyOf" in node or "oneOf" in node:
            for option in node.get("anyOf", node.get("oneOf")):
                yield from self._options(option)
        elif node.get("type") != "null":
            yield node

    def _mappings(self, node: Node) -> Iterator[tuple[str | None, Node]]:
        """The mappings that a key may hold, with the name or kind that picks each, if one does."""
        for option in self._options(node):
            if option.get("type") == "array" and "items" in option:
                yield from self._mappings(option["items"])
            elif "additionalProperties" in option and "properties" in option:
                yield _tag(option), option


def anchor(title: str) -> str:
    """The fragment that leads to a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _title(path: tuple[str, ...], tag: str | None) -> str:
    dotted = ".".join(path)
    return f"{dotted}: {tag}" if tag else dotted


def _tag(node: Node) -> str | None:
    """The name or kind that picks a mapping."""
    tags = [part["const"] for key, part in node.get("properties", {}).items() if _is_tag(key, part)]
    return str(tags[0]) if tags else None


def _is_tag(key: str, node: Node) -> bool:
    return key in ("name", "kind") and "const" in node


def _required(node: Node) -> list[str]:
    """Required keys; of the whole file, what is needed unless it is swept."""
    return list(node.get("required", node.get("else", {}).get("required", [])))


def _default(node: Node) -> str:
    value = node.get("default")
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return f"`{value['kind']}`" if set(value) == {"kind"} else "as below"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value, ensure_ascii=False)}`"


def _scalar(node: Node) -> Iterator[str]:
    if "const" in node:
        yield f"`{node['const']}`"
    elif node.get("type") in ("integer", "number"):
        yield _number(node)
    elif node.get("type") == "boolean":
        yield "`true`, `false`"
    elif "object" in node.get("type", ()):
        # without known keys there are only the sweep and the signals of a rule
        yield "mapping of names" if isinstance(node.get("additionalProperties"), dict) else "mapping of lists"
    elif node.get("type") == "string" and "examples" in node:
        yield from (_quantity(example) for example in node["examples"])
    elif node.get("type") == "string" and node.get("pattern") != r"[:/.]":  # that is a path, told in the meaning
        yield "text"


def _quantity(example: str) -> str:
    kind = next((kind for kind, text in units.EXAMPLES.items() if text == example), "count")
    return _SHARE if kind == "share" else f"{kind} (`{example}`)"


def _number(node: Node) -> str:
    what = "whole number" if node["type"] == "integer" else "number"
    limits = [
        f"{sign} {_short(node[name])}"
        for name, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if name in node
    ]
    return f"{what} {' and '.join(limits)}".rstrip()


def _short(value: float) -> str:
    return f"2^{value.bit_length() - 1}" if isinstance(value, int) and value > 2**32 else f"{value:g}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
