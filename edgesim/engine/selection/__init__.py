"""Selection: who is idle, and to whom of these the server dispatches."""

from edgesim.engine.selection.candidates import Candidates
from edgesim.engine.selection.data_size import DataSize
from edgesim.engine.selection.energy_aware import EnergyAware
from edgesim.engine.selection.fastest import FastestAvailable
from edgesim.engine.selection.idle import IdleClients
from edgesim.engine.selection.oort import Oort
from edgesim.engine.selection.power_of_choice import PowerOfChoice
from edgesim.engine.selection.refl import Refl
from edgesim.engine.selection.round_robin import RoundRobin
from edgesim.engine.selection.selector import Facts, Selector
from edgesim.engine.selection.uniform import Uniform

SELECTORS: dict[str, type[Selector]] = {
    "uniform": Uniform,
    "data-size": DataSize,
    "power-of-choice": PowerOfChoice,
    "round-robin": RoundRobin,
    "fastest-available": FastestAvailable,
    "oort": Oort,
    "refl": Refl,
    "energy-aware": EnergyAware,
}

__all__ = [
    "SELECTORS", "Candidates", "DataSize", "EnergyAware", "Facts", "FastestAvailable", "IdleClients", "Oort",
    "PowerOfChoice", "Refl", "RoundRobin", "Selector", "Uniform",
]  # fmt: skip
