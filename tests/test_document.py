"""Documents: what YAML says, where it says it, and every mistake at once."""
# ruff: noqa: E501 (messages are asserted whole, each on its line)

from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from edgesim.document import Document, check
from edgesim.errors import ScenarioError
from edgesim.units import Seconds

TEXT = """\
a: 1e6
b: {c: [1, no, 010, 10:30, 2020-01-02], "d": '5'}
on: &x {k: ~}
e: *x
"""


def _parse(text: str) -> Document:
    return Document.parse(text, "f.yaml")


def test_values_are_yaml_1_2() -> None:
    """`no` is text, 010 is ten, 10:30 is no number of seconds, `on` is a key, dates stay text."""
    assert _parse(TEXT).data == {
        "a": 1e6,
        "b": {"c": [1, "no", 10, "10:30", "2020-01-02"], "d": "5"},
        "on": {"k": None},
        "e": {"k": None},
    }


def test_merged_keys_stand_after_ones_own_and_keep_their_places() -> None:
    document = _parse("a: &x {b: 1, c: 2}\nd: &y {<<: *x, b: 3}\ne: {<<: [{f: 4, b: 5}, *y]}\n")
    assert document.data == {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}, "e": {"f": 4, "b": 5, "c": 2}}
    assert [document.where(path) for path in (("d", "b"), ("d", "c"))] == ["f.yaml:2:19", "f.yaml:1:17"]


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ((), "f.yaml:1:1", "f.yaml:1:1"),
        (("a",), "f.yaml:1:4", "f.yaml:1:1"),
        (("b", "c", 1), "f.yaml:2:12", "f.yaml:2:12"),
        (("b", "d"), "f.yaml:2:46", "f.yaml:2:41"),
        (("b", "absent"), "f.yaml:2:4", "f.yaml:2:1"),  # the nearest that is there
        (("b", "tag", "d"), "f.yaml:2:46", "f.yaml:2:41"),  # a part that leads nowhere is passed over
    ],
)
def test_places_of_values_and_keys(path: tuple[str | int, ...], value: str, key: str) -> None:
    document = _parse(TEXT)
    assert document.where(path) == value
    assert document.where_key(path) == key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:\n\tb: 1", "f.yaml:2:1: a tab; indent with spaces"),
        ("a: 1\nc: [1,2\nb: 3", "f.yaml:2:4: this [ is not closed, or a comma is missing, before 3:2"),
        ("a: {b: 1 c: 2}", "f.yaml:1:4: this { is not closed, or a comma is missing, before 1:11"),
        ("a: [1]]", "f.yaml:1:7: this ] closes nothing; remove it"),
        ("a: 'b\nc: 1", "f.yaml:1:4: this quote is not closed"),
        ("a: @b", "f.yaml:1:4: a value cannot begin with @; put it into quotes"),
        ("a: b: c", "f.yaml:1:5: a value with ': ' in it; put it into quotes"),
        ("a:\n  b:10\n\n  c: 1", "f.yaml:2:3: no space after the colon; write b: 10"),
        ("a:\n  c: 1\n  b:10\nd: 1", "f.yaml:3:3: no space after the colon; write b: 10"),
        ("a:\n  b: 1\n   c: 1", "f.yaml:3:4: this goes on with the text of line 2; begin it in the column of its neighbours, and write key: …"),
        ("a:\n    b: 1\n  c: 1", "f.yaml:3:3: indented unlike the lines around it; begin it in the column of its neighbours"),
        ("a:\n  - 1\n  b: 1", "f.yaml:3:3: a key and a '- ' in one column; indent what belongs to the other"),
        ("'a' b", "f.yaml:1:5: this belongs to nothing before it; write key: value, each on its line"),
        ("a: &x [*x]", "f.yaml:1:4: an anchor that contains itself; write its parts out"),
        ("a: {<<: 3}", "f.yaml:1:9: nothing to merge; write <<: *name, of a mapping with an &name"),
        ("a: &x {<<: *x}", "f.yaml:1:4: nothing to merge; write <<: *name, of a mapping with an &name"),
        ("a: {<<: &x {<<: *x}}", "f.yaml:1:9: nothing to merge; write <<: *name, of a mapping with an &name"),
        ("a: *x", "f.yaml:1:4: found undefined alias 'x'"),
        ("- 1\n---\n- 2", "f.yaml:2:1: a second document; keep one document in a file"),
        ("a: !!python/name:os.system x", "f.yaml:1:4: the tag tag:yaml.org,2002:python/name:os.system means nothing here; remove it"),
        ("a: !!int x", "f.yaml:1:4: 'x': invalid literal for int() with base 10: 'x'"),
        ("[a]: 3", "f.yaml:1:1: a key must be a plain word"),
    ],
)  # fmt: skip
def test_syntax_mistakes_have_their_place(text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=r".") as refusal:
        _parse(text)
    assert str(refusal.value) == message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"absent.yaml: cannot be read: No such file"):
        Document.read(tmp_path / "absent.yaml")
    with pytest.raises(ScenarioError, match=r"cannot be read: Is a directory"):
        Document.read(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(ScenarioError, match=r"latin.yaml: not UTF-8 text \(byte 9\); save it as UTF-8"):
        Document.read(tmp_path / "latin.yaml")


def test_setting_a_value_changes_a_copy_and_its_place() -> None:
    document = _parse(TEXT)
    changed = document.set("b.c.1", "{x: 3}", "--set b.c.1={x: 3}")
    assert changed.data["b"]["c"] == [1, {"x": 3}, 10, "10:30", "2020-01-02"]
    assert changed.where(("b", "c", 1, "x")) == "--set b.c.1={x: 3}"
    assert changed.where(("b", "c", 0)) == "f.yaml:2:9"
    assert document.data["b"]["c"][1] == "no"


def test_setting_makes_the_mappings_on_the_way() -> None:
    assert _parse("a: 1").set("x.y.z", "2", "--set").data == {"a": 1, "x": {"y": {"z": 2}}}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("a.b", "1", r"--set: a is 1000000.0 and has no parts; set a as a whole"),
        ("b.c.7", "1", r"--set: b.c is a list of 5: no entry 7; count from 0"),
        ("b.c.x", "1", r"--set: b.c is a list of 5: no entry x; count from 0"),
        ("a", "[", r"--set: expected the node content"),
    ],
)
def test_setting_what_cannot_be_set(path: str, value: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        _parse(TEXT).set(path, value, "--set")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Wait(_Strict):
    kind: Literal["wait"]
    time: Seconds = Field(gt=0, description="how long")


class _Count(_Strict):
    kind: Literal["count"]
    number: int


class _Root(_Strict):
    mode: Literal["fast", "slow"] = "fast"
    steps: tuple[_Wait | _Count, ...]
    first: _Wait | _Count = Field(discriminator="kind")


def test_every_mistake_is_told_from_top_to_bottom() -> None:
    document = _parse("mode: fsat\nsteps: []\nfirst:\n  kind: wait\n  tme: 5 min\n")
    with pytest.raises(ScenarioError, match=r".") as refusal:
        check(document, _Root)
    assert str(refusal.value).split("\n") == [
        "f.yaml:1:7: mode: got 'fsat'; did you mean fast? (fast, slow)",
        "f.yaml:4:3: first.time: missing (how long)",
        "f.yaml:5:3: first.tme: unknown key; did you mean time? (kind, time)",
    ]


def test_a_list_becomes_a_tuple_but_text_no_number() -> None:
    document = _parse("steps: [{kind: count, number: 1}]\nfirst: {kind: count, number: '1'}\n")
    with pytest.raises(ScenarioError, match=r"^f.yaml:2:30: first.number: got '1'; drop the quotes: 1$"):
        check(document, _Root)


def test_an_empty_file_lacks_everything() -> None:
    with pytest.raises(ScenarioError, match=r"^f.yaml:1:1: got null; should be a mapping$"):
        check(_parse(""), _Root)


def test_duplicate_keys_are_told_with_all_other_mistakes() -> None:
    """The first of each counts while the rest is looked at, and no duplicate gets through."""

    class Inner(BaseModel):
        model_config = ConfigDict(extra="forbid")
        c: int

    class Outer(BaseModel):
        model_config = ConfigDict(extra="forbid")
        a: int
        b: Inner

    text = "a: 1\na: 2\nb: {c: 1, c: 2}\n"
    with pytest.raises(ScenarioError, match=r".") as refusal:
        check(Document.parse(text, "f.yaml"), Outer)
    assert str(refusal.value) == (
        "f.yaml:2:1: duplicate key 'a', first at 1:1; keep one of them\n"
        "f.yaml:3:11: duplicate key 'c', first at 3:5; keep one of them"
    )
    with pytest.raises(ScenarioError, match=r".") as refusal:
        check(Document.parse("b: {c: x, d: 1}\na: 1\na: 2\n", "f.yaml"), Outer)
    lines = str(refusal.value).split("\n")
    assert [line.split(": ")[0] for line in lines] == ["f.yaml:1:8", "f.yaml:1:11", "f.yaml:3:1"]
