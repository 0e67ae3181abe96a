"""References to a user's own Python: `package.module:Name` or `./file.py:Name`."""

import ast
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from edgesim.errors import ScenarioError
from edgesim.spelling import advice

_PREFIX = "edgesim_user_"


class Own(NamedTuple):
    """A user's own file that this process has run. Attributes: path; source; beside, the texts of the files beside it
    that it imports, by what it calls them."""

    path: Path
    source: bytes
    beside: dict[str, bytes]


_run: list[Own] = []


def is_reference(text: str) -> bool:
    """Whether the text means a user's own object rather than a built-in name."""
    return ":" in text


def unnamed(text: str, what: str) -> str | None:
    """What to tell whoever names a file of their own, but not what in it; None for any other text."""
    return f"'{text}' is a file: write {text}:NAME, with the name of the {what} in it" if text.endswith(".py") else None


def resolve(text: str, folder: Path) -> object:
    """The object that `package.module:Name` or `./file.py:Name` names; a file's path counts from `folder`.

    A file that has not changed is run once, so that two references to it share their classes.
    Raises ScenarioError: malformed text; no such file, module or name; the module fails when imported.
    """
    where, colon, name = text.rpartition(":")
    if not colon or not where or not name.isidentifier():
        raise ScenarioError(f"'{text}' names no Python object: write package.module:Name or ./file.py:Name")
    module = _from_file(where, folder, text) if where.endswith(".py") else _from_package(where, text)
    if not hasattr(module, name):
        public = [key for key in vars(module) if not key.startswith("_")]
        raise ScenarioError(f"'{text}': {where} has no '{name}': {advice(name, public)}")
    return getattr(module, name)


def files() -> list[Own]:
    """The users' own files that this process has run, for another process that is sent what they define."""
    return list(_run)


def own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames that an exception came through in those files, the innermost last."""
    own = {str(file.path) for file in _run}
    return [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in own]


def beside(path: Path) -> set[Path]:
    """The files that lie beside one and are imported by it, or by one of these, as their texts say."""
    found, todo = set[Path](), [path]
    while todo:
        try:
            code = ast.parse(todo.pop().read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        for name in _imported(code):
            other = path.parent / f"{name}.py"
            if other not in found and other != path and other.is_file():
                found.add(other)
                todo.append(other)
    return found


def _imported(code: ast.Module) -> Iterator[str]:
    """The first part of each module's name."""
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def run_files(found: Sequence[Own]) -> None:
    """Run users' own files from their texts, so that what they define can be unpickled here, on whatever machine.

    Raises ScenarioError as `resolve`.
    """
    for own in found:
        _sent.sources.update(own.beside)
        _from_source(own.path, own.source, str(own.path), own.beside)


class _Sent(MetaPathFinder, InspectLoader):
    """Imports of files that lie beside a user's own on another machine."""

    def __init__(self) -> None:
        self.sources: dict[str, bytes] = {}

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname in self.sources else None

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self.sources[fullname])


_sent = _Sent()
sys.meta_path.append(_sent)  # last, so that it hides nothing


def _from_package(where: str, text: str) -> ModuleType:
    try:
        return importlib.import_module(where)
    except Exception as error:
        missing = getattr(error, "name", None)
        if isinstance(error, ModuleNotFoundError) and missing and f"{where}.".startswith(f"{missing}."):
            raise ScenarioError(
                f"'{text}': no module '{missing}' is installed; for a file of your own "
                f"write ./{missing}.py:{text.rpartition(':')[2]}"
            ) from error
        raise ScenarioError(f"'{text}': importing {where} failed: {_told(error)}") from error


def _from_file(where: str, folder: Path, text: str) -> ModuleType:
    path = (folder / where).resolve()
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ScenarioError(f"'{text}': cannot read {path}: {error.strerror}") from error
    return _from_source(path, source, text)


def _from_source(path: Path, source: bytes, text: str, sent: dict[str, bytes] | None = None) -> ModuleType:
    """The module of a file; what lies beside it is `sent`, or is there."""
    # The name follows from place and content: the same file is found again, a changed one is run anew.
    digest = hashlib.blake2b(bytes(path) + b"\0" + source, digest_size=6).hexdigest()
    module_name = f"{_PREFIX}{path.stem}_{digest}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None  # a .py path always has a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # before it runs: dataclasses look their module up
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # for files beside it; last, so that they hide nothing
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except Exception as error:
        del sys.modules[module_name]
        raise ScenarioError(f"'{text}': running {_line(path, error)} failed: {_told(error)}") from error
    _run.append(Own(path, source, {file.stem: file.read_bytes() for file in beside(path)} if sent is None else sent))
    return module


def _line(path: Path, error: Exception) -> str:
    """The file, with the line that was at work."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _told(error: Exception) -> str:
    hint = ""
    if isinstance(error, ImportError) and "relative import" in str(error):
        hint = "; a file beside this one is imported by its bare name: import NAME"
    return f"{type(error).__name__}: {error}{hint}"
