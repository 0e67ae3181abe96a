"""Registries: what each choice of a scenario is made from, built in and the user's own."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from edgesim.errors import ScenarioError
from edgesim.references import is_reference, resolve
from edgesim.scenario.choice import Choice, Registry, Target, table


def _datasets() -> Mapping[str, Target]:
    from edgesim.learning import quadratic
    from edgesim.learning.data import DATASETS

    return {**DATASETS, quadratic.NAME: quadratic.quadratic}


def _own_data(text: str, folder: Path, data_dir: str | None) -> Target | None:
    """The user's own files, where they are: a folder or an .npz file."""
    homes = [folder, *([folder / data_dir] if data_dir else []), *_environment_data()]
    if any((home / text).is_dir() or (home / text).is_file() for home in homes):
        return _without_parameters
    if "/" in text or text.endswith(".npz"):
        looked = ", ".join(str(home / text) for home in homes)
        raise ScenarioError(f"no such file or folder '{text}'; looked for {looked}")
    return None


def _environment_data() -> list[Path]:
    """The data folder that the environment names, if it does."""
    return [Path(os.environ["EDGESIM_DATA"])] if os.environ.get("EDGESIM_DATA") else []


def _without_parameters(source: object) -> None:
    """What a user's own data takes: nothing."""


def _models() -> Mapping[str, Target]:
    from edgesim.learning import quadratic
    from edgesim.learning.models import MODELS

    return {**MODELS, quadratic.NAME: quadratic.variables}


def _own_model(text: str, folder: Path, data_dir: str | None) -> Target | None:
    found = resolve(text, folder) if is_reference(text) else None
    if found is not None and not callable(found):
        raise ScenarioError(f"'{text}' is not a function; name one that returns a torch module")
    return found


def _algorithms() -> Mapping[str, Target]:
    from edgesim.algorithms.registry import find, names

    return {name: find(name, Path()) for name in names()}


def _own_algorithm(text: str, folder: Path, data_dir: str | None) -> Target | None:
    from edgesim.algorithms.registry import find

    return find(text, folder) if is_reference(text) else None


DatasetChoice = Annotated[Choice, Registry(key="name", what="data set", skip=1, builtins=_datasets, own=_own_data)]
ModelChoice = Annotated[Choice, Registry(key="name", what="model", skip=2, builtins=_models, own=_own_model)]
PartitionChoice = Annotated[
    Choice, Registry(key="kind", what="partition", skip=3, builtins=table("edgesim.learning.partition:PARTITIONS"))
]
SolverChoice = Annotated[
    Choice, Registry(key="name", what="optimizer", skip=0, builtins=table("edgesim.learning.solvers:SOLVERS"))
]
AlgorithmChoice = Annotated[
    Choice, Registry(key="name", what="algorithm", skip=0, builtins=_algorithms, own=_own_algorithm)
]
AttackChoice = Annotated[
    Choice, Registry(key="kind", what="attack", skip=0, builtins=table("edgesim.learning.attacks:ATTACKS"))
]
CodecChoice = Annotated[
    Choice, Registry(key="name", what="codec", skip=0, builtins=table("edgesim.learning.compression:CODECS"))
]
