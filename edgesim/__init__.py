"""edgesim: what each federated algorithm costs, in time, energy and bytes, for the accuracy it reaches."""

from pathlib import Path as _Path

# In a checkout devices/, algorithms/, plots/ and scenarios/ lie beside this folder; in a wheel
# they lie inside it. The map for the wheel is [tool.setuptools.package-dir] in pyproject.toml.
_here = _Path(__file__).resolve().parent
if not (_here / "devices").is_dir() and (_here.parent / "pyproject.toml").is_file():
    __path__.append(str(_here.parent))
