"""The wheel holds the package and nothing else: in a checkout its parts lie side by side, installed one in another."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy, since building leaves its own files in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(TREE / name, tree)
    for package in {path.parts[0] for path in map(Path, packages().values())}:
        shutil.copytree(TREE / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=tree, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def packages() -> dict[str, str]:
    """Package → its folder in the tree, as pyproject.toml says."""
    setup = tomllib.loads((TREE / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders: dict[str, str] = setup["package-dir"]
    return {
        package: folders.get(package, package.replace(".", "/")) for package in sorted(setup["packages"])
    }  # fmt: skip


def test_its_files_are_those_of_the_tree(wheel: zipfile.ZipFile) -> None:
    expected = {
        f"{package.replace('.', '/')}/{path.name}"
        for package, folder in packages().items()
        for path in (TREE / folder).iterdir()
        if path.is_file()
    }
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == expected


def test_every_folder_with_code_is_a_package() -> None:
    """A new room that pyproject.toml does not list would work in a checkout and be missing once installed."""
    tops = {Path(folder).parts[0] for folder in packages().values()}
    with_code = {path.parent.relative_to(TREE).as_posix() for top in tops for path in (TREE / top).rglob("*.py")}
    assert with_code - set(packages().values()) == set()


def test_only_edgesim_and_its_command_are_installed(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    (info,) = (top for top in tops if top.endswith(".dist-info"))
    assert tops == {"edgesim", info}
    assert wheel.read(f"{info}/entry_points.txt").decode().split("\n")[:2] == [
        "[console_scripts]",
        "edgesim = edgesim.cli:main",
    ]
