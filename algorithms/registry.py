"""Which algorithms there are: the built-in ones by name, and anyone's own by `package.module:Class`."""

from pathlib import Path

from edgesim.algorithms import hooks
from edgesim.algorithms.contract import Algorithm
from edgesim.errors import ScenarioError
from edgesim.references import resolve, unnamed
from edgesim.spelling import advice

_BUILT_IN = {
    "fedavg": "edgesim.algorithms.fedavg:FedAvg",
    "fedalt": "edgesim.algorithms.fedalt:FedAlt",
    "fedbn": "edgesim.algorithms.fedbn:FedBN",
    "fedper": "edgesim.algorithms.fedper:FedPer",
    "fedrep": "edgesim.algorithms.fedrep:FedRep",
    "fedsim": "edgesim.algorithms.fedalt:FedSim",
    "ffgg": "edgesim.algorithms.ffgg:FFGG",
    "l2gd": "edgesim.algorithms.l2gd:L2GD",
    "lgfedavg": "edgesim.algorithms.lgfedavg:LGFedAvg",
    "fedavg-ft": "edgesim.algorithms.fedavg_ft:FedAvgFineTuned",
    "local": "edgesim.algorithms.local_only:LocalOnly",
    "fedprox": "edgesim.algorithms.fedprox:FedProx",
    "scaffold": "edgesim.algorithms.scaffold:Scaffold",
    "ditto": "edgesim.algorithms.ditto:Ditto",
    "pfedme": "edgesim.algorithms.pfedme:PFedMe",
    "per-fedavg": "edgesim.algorithms.perfedavg:PerFedAvg",
    "apfl": "edgesim.algorithms.apfl:Apfl",
    "asofed": "edgesim.algorithms.asofed:AsoFed",
    "pfedla": "edgesim.algorithms.pfedla:PFedLA",
    "fedspa": "edgesim.algorithms.fedspa:FedSpa",
    "dispfl": "edgesim.algorithms.dispfl:DisPfl",
    "flash": "edgesim.algorithms.flash:Flash",
    "feddst": "edgesim.algorithms.feddst:FedDst",
    "subfedavg": "edgesim.algorithms.subfedavg:SubFedAvg",
    "lotteryfl": "edgesim.algorithms.lotteryfl:LotteryFl",
    "prunefl": "edgesim.algorithms.prunefl:PruneFl",
    "zerofl": "edgesim.algorithms.zerofl:ZeroFl",
    "heterofl": "edgesim.algorithms.heterofl:HeteroFL",
    "fjord": "edgesim.algorithms.fjord:FjORD",
    "pfedhn": "edgesim.algorithms.pfedhn:PFedHN",
    "fedfomo": "edgesim.algorithms.fedfomo:FedFomo",
}


def names() -> dict[str, str]:
    """Built-in algorithms: name → one line on what it is."""
    return {name: find(name, Path()).summary for name in _BUILT_IN}


def find(name: str, folder: Path) -> type[Algorithm]:
    """The class of a built-in name, or of `package.module:Class` or `./file.py:Class` (from `folder`).

    Raises ScenarioError for an unknown name, with the nearest one, for a class that is no Algorithm, and for one with
    a hook that is never asked for.
    """
    if ":" not in name and name not in _BUILT_IN:
        own = "your own is './file.py:Class' or 'package.module:Class'"
        unknown = f"unknown algorithm {name!r}; {advice(name, _BUILT_IN)}; {own}"
        raise ScenarioError(unnamed(name, "algorithm") or unknown)
    found = resolve(_BUILT_IN.get(name, name), folder)
    if not (isinstance(found, type) and issubclass(found, Algorithm)):
        raise ScenarioError(
            f"{name!r} is no algorithm; write a dataclass that extends edgesim.algorithms.contract.Algorithm"
        )
    if ":" in name:
        hooks.check(found)
    return found
