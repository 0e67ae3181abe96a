"""Reader: YAML text to plain data, with the place of every key and value, and every mistake on the way.

ruamel.yaml (YAML 1.2: `no` is text, 010 is 10, a duplicate key is a mistake) composes nodes that know
their line and column; they are walked here. Dates stay text, tags are refused.
"""

from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from edgesim.yamlwords import plainly

KeyPath: TypeAlias = tuple[str | int, ...]
_SCALARS = {"tag:yaml.org,2002:" + kind for kind in ("null", "bool", "int", "float", "str")}


class Reader:
    """Walks the nodes of one text; collects problems rather than stopping at the first.

    Attributes: problems, what cannot be read; repeated, duplicate keys: the first of each is read, so that
    whatever else is wrong can be told with them.
    """

    def __init__(self, name: str, numbered: bool) -> None:
        self.name, self.numbered = name, numbered
        self.values: dict[KeyPath, str] = {}
        self.keys: dict[KeyPath, str] = {}
        self.problems: list[str] = []
        self.repeated: list[str] = []
        self._yaml = YAML(typ="safe", pure=True)
        self._open: set[int] = set()

    def read(self, text: str) -> Any:
        try:
            root = self._yaml.compose(text)
        except MarkedYAMLError as error:
            self._problem(*plainly(error, text))
            return None
        except YAMLError as error:
            self._problem(None, " ".join(str(error).split()))
            return None
        if root is None:
            self.values[()] = self._place(None)
            return None
        return self._value(root, ())

    def _value(self, node: Node, path: KeyPath) -> Any:
        self.values[path] = self._place(node.start_mark)
        if id(node) in self._open:
            return self._problem(node.start_mark, "an anchor that contains itself; write its parts out")
        self._open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, path)
            if isinstance(node, SequenceNode):
                return [self._value(item, (*path, number)) for number, item in enumerate(node.value)]
            return self._scalar(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in self._pairs(node, frozenset(self._open)):
            if not isinstance(key_node, ScalarNode):
                self._problem(key_node.start_mark, "a key must be a plain word")
                continue
            key = key_node.value
            if key in data:
                first = self.keys[(*path, key)].removeprefix(f"{self.name}:")
                place = self._place(key_node.start_mark)
                self.repeated.append(f"{place}: duplicate key '{key}', first at {first}; keep one of them")
                continue
            self.keys[(*path, key)] = self._place(key_node.start_mark)
            data[key] = self._value(value_node, (*path, key))
            nothing = value_node.start_mark.index == value_node.end_mark.index
            if nothing:  # its place may be lines further on
                self.values[(*path, key)] = self.keys[(*path, key)]
        return data

    def _pairs(self, node: MappingNode, around: frozenset[int]) -> list[tuple[Node, Node]]:
        """Its keys and values, and after its own those of the mappings that it merges (`<<: *base`)."""
        pairs = [(key, value) for key, value in node.value if not _merges(key)]
        for given in (value for key, value in node.value if _merges(key)):
            for base in given.value if isinstance(given, SequenceNode) else [given]:
                if not isinstance(base, MappingNode) or id(base) in around:
                    self._problem(base.start_mark, "nothing to merge; write <<: *name, of a mapping with an &name")
                    continue
                taken = [key.value for key, _ in pairs]
                merged = self._pairs(base, around | {id(base)})
                pairs += [(key, value) for key, value in merged if key.value not in taken]
        return pairs

    def _scalar(self, node: Node) -> Any:
        tag = str(node.tag)
        if tag.endswith(":timestamp"):
            return node.value
        if tag not in _SCALARS:
            return self._problem(node.start_mark, f"the tag {tag} means nothing here; remove it")
        try:
            return self._yaml.constructor.construct_object(node, deep=True)
        except ValueError as error:
            return self._problem(node.start_mark, f"{node.value!r}: {error}")

    def _problem(self, mark: Any, text: str) -> None:
        self.problems.append(f"{self._place(mark)}: {text}")

    def _place(self, mark: Any) -> str:
        if not self.numbered:
            return self.name
        return f"{self.name}:{mark.line + 1}:{mark.column + 1}" if mark else f"{self.name}:1:1"


def _merges(key: Node) -> bool:
    return str(key.tag).endswith(":merge")
