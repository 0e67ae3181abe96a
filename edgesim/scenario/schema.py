"""Scenario: what a YAML file may say, as frozen models.

The texts under the fields become the reference and the JSON Schema. Quantities are floats in SI base
units once read, and are written back with their units.
"""

import math
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from edgesim.devices.device import Device
from edgesim.errors import ScenarioError
from edgesim.explain import together, wrong
from edgesim.scenario.carbon import intensities
from edgesim.scenario.execution import Execution
from edgesim.scenario.failures import Failures
from edgesim.scenario.fleet import FleetEntry, check_shares
from edgesim.scenario.gossip import Gossip
from edgesim.scenario.hierarchy import Hierarchical
from edgesim.scenario.interval import Interval
from edgesim.scenario.network import Network
from edgesim.scenario.paths import FolderPath, folder_of
from edgesim.scenario.registries import (
    AlgorithmChoice,
    AttackChoice,
    CodecChoice,
    DatasetChoice,
    ModelChoice,
    PartitionChoice,
    SolverChoice,
)
from edgesim.scenario.schedule import Async, Buffered, Deadline, Periodic, Safa, Sync, Tiered, TimelyFl
from edgesim.scenario.section import Count, OrWord, Section
from edgesim.scenario.selecting import SelectorChoice
from edgesim.scenario.server import Server
from edgesim.spelling import advice
from edgesim.units import Bytes, Joules, Seconds, Share, format

Schedule: TypeAlias = Annotated[
    Sync | Deadline | Async | Buffered | Periodic | Tiered | Safa | TimelyFl | Hierarchical | Gossip,
    Field(discriminator="kind"),
    OrWord(),
]


class Task(Section):
    """What is learned: the data, who holds which of it, and the model."""

    data_dir: FolderPath | None = None
    """folder of your data sets, relative to this file; or set the environment variable EDGESIM_DATA"""
    dataset: DatasetChoice
    """a name, a name with parameters, or the path of your own folder or .npz file"""
    partition: PartitionChoice = Field(default="iid", validate_default=True)
    """how the data is spread over the clients"""
    clients: Count
    """how many clients there are"""
    unseen: Share = Field(default=0.0, lt=1)
    """the part of the clients, drawn by the seed, that never train and are only tested, as newcomers to what the others
    have learnt; they have no jobs and cost nothing, and their accuracy is a figure of its own"""
    test_share: Share = Field(default=0.25, gt=0, lt=1)
    """the part of each client's data that it is tested on"""
    model: ModelChoice
    """a name, a name with parameters, or your own: package.module:factory or ./file.py:factory"""

    @field_validator("unseen")
    @classmethod
    def _some_of_both(cls, share: float, info: ValidationInfo) -> float:
        clients = info.data.get("clients")
        if share and clients is not None and not 0 < round(share * clients) < clients:
            who = "nobody" if round(share * clients) == 0 else "everybody"
            raise ValueError(
                f"{format(share, 'share')} of {clients} clients, rounded, is {who}; write a share of at least one that "
                "leaves at least one to train, more task.clients, or leave it out"
            )
        return share

    @property
    def participants(self) -> int:
        """How many clients may train."""
        return self.clients - round(self.unseen * self.clients)


class Training(Section):
    """The local solver, the same on every device."""

    optimizer: SolverChoice = Field(default="sgd", validate_default=True)
    """what becomes of a gradient: sgd steps along it, adam and adamw as far as gradients have been alike"""
    lr: float = Field(gt=0)
    """learning rate"""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """of sgd; 0 is none. It starts anew in each job, as adam's moments do"""
    weight_decay: float = Field(default=0.0, ge=0)
    """λ: an L2 penalty, or with adamw a decay apart from the gradient"""
    lr_decay: float = Field(default=1.0, gt=0, le=1)
    """factor of the learning rate at each aggregation"""
    batch_size: Count = 10
    """samples in a step"""
    epochs: Count = 1
    """passes over a client's data in a job"""
    clip: float | None = Field(default=None, gt=0)
    """largest norm of a gradient; larger ones are scaled down"""

    @model_validator(mode="after")
    def _momentum_is_of_sgd(self) -> Self:
        if self.momentum and self.optimizer.name != "sgd":
            what = f"{self.optimizer.name} has a momentum of its own, beta1"
            raise wrong(
                f"{what}; leave this out, and write optimizer: {{name: {self.optimizer.name}, beta1: …}}", "momentum"
            )
        return self


def _is_carbon(text: str, info: ValidationInfo) -> str:
    try:
        intensities(text, folder_of(info))
    except ScenarioError as error:
        raise wrong(str(error)) from None
    return text


class Costs(Section):
    """How costs are counted."""

    sparse_speedup: Literal["realised", "ideal"] = "realised"
    """realised: as fast as the device's sparse kernels are; ideal: only active weights cost time"""
    carbon: Annotated[str, AfterValidator(_is_carbon)] | None = None
    """what electricity emits where the devices are (`region` of the fleet's entries): `national`, the yearly means of
    countries by their ISO 3166 codes, e.g. DEU; or your own CSV file over time, start_h,region,… in g CO2e/kWh
    (relative to this file)"""


_MOST_EVALUATIONS = 10_000_000


class Evaluate(Section):
    """When the clients' models are tested, each on its client's own test part."""

    every: Interval
    """simulated time, 1 us or more, or a number of aggregations; ten million evaluations until stop.time at most"""
    target: Share | None = Field(default=None, gt=0)
    """accuracy for the figures "time, energy and bytes to target\""""


class Stop(Section):
    """When the run ends: whichever comes first; at least one is needed."""

    time: Seconds | None = Field(default=None, gt=0)
    """simulated time"""
    updates: Count | None = None
    """updates aggregated"""
    aggregations: Count | None = None
    """aggregations, that is rounds under `sync`"""
    accuracy: Share | None = Field(default=None, gt=0)
    """mean accuracy of the clients at an evaluation"""
    energy: Joules | None = Field(default=None, gt=0)
    """drawn by devices during jobs"""
    bytes: Bytes | None = Field(default=None, gt=0)
    """sent and received"""

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if not any(getattr(self, name) for name in type(self).model_fields):
            raise ValueError(f"the run would never end; write at least one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def perhaps_never(self) -> bool:
        """Whether there is nothing but an accuracy to end the run."""
        return {name for name in type(self).model_fields if getattr(self, name)} == {"accuracy"}


class Scenario(Section):
    """One run: what is learned, on which devices, by which algorithm, until when."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=80)
    """lower-case letters, digits, - and _; the results lie in a folder of this name"""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """everything random follows from it"""
    task: Task
    """what is learned"""
    training: Training
    """how a client trains"""
    profiles: FolderPath | None = None
    """folder of your own device and link profiles, relative to this file; found by name, before the catalogue"""
    fleet: Annotated[tuple[FleetEntry, ...], AfterValidator(check_shares)]
    """the devices, as parts of the whole, at least one"""
    network: Network = Network()
    """how transfers share the network"""
    failures: Failures = Failures()
    """what becomes of interrupted jobs"""
    costs: Costs = Costs()
    """how costs are counted"""
    codec: CodecChoice | None = None
    """how updates are made smaller before they travel, besides what the algorithm itself leaves out"""
    server: Server = Field(default_factory=lambda: Server())
    """how updates are merged"""
    attackers: AttackChoice | None = None
    """clients that send something else than their updates; they are not part of the measured accuracy"""
    schedule: Schedule
    """when jobs are dispatched and updates aggregated"""
    selector: SelectorChoice = Field(default="uniform", validate_default=True)
    """which clients get a job: a name, a name with options, or your own: package.module:Class or ./file.py:Class"""
    algorithm: AlgorithmChoice
    """a name, a name with hyper-parameters, or your own: package.module:Class or ./file.py:Class"""
    evaluate: Evaluate
    """when the models are tested"""
    stop: Stop
    """when the run ends"""
    execution: Execution = Execution()
    """how, not what: excluded from the hash"""

    @field_validator("fleet")
    @classmethod
    def _names_tell_devices_apart(cls, fleet: tuple[FleetEntry, ...], info: ValidationInfo) -> tuple[FleetEntry, ...]:
        named = dict[str, Device]()
        for place, entry in enumerate(fleet):
            device = entry.profile(info)
            if named.setdefault(device.name, device) != device:
                what = f"the devices of an earlier entry are called '{device.name}', too, and have other figures"
                remedy = f"give this one a name of its own, e.g. name: my-{device.name}, to tell them apart by"
                raise wrong(f"{what}; {remedy}", place, "device" if entry.name is None else "name")
        return fleet

    @field_validator("schedule")
    @classmethod
    def _enough_clients(cls, schedule: Schedule, info: ValidationInfo) -> Schedule:
        key, wanted = schedule.busiest
        task = info.data.get("task")
        if task is not None and wanted > task.participants:
            said = getattr(schedule, key) == wanted  # rather than reckoned from several keys
            told, most = (
                (wanted, f"at most {task.participants}") if said else (getattr(schedule, "reckoned", wanted), "less")
            )
            whom, fewer = (" that are not unseen", ", or less task.unseen") if task.unseen else ("", "")
            raise wrong(f"{told} of {task.participants} clients{whom}; write {most}, or more task.clients{fewer}", key)
        return schedule

    @model_validator(mode="after")
    def _can_learn(self) -> Self:
        if self.execution.backend == "none" and self.stop.accuracy is not None:
            what = "an estimate trains nothing, so no accuracy is ever reached"
            raise wrong(f"{what}; stop by time, updates, aggregations, energy or bytes instead", "stop", "accuracy")
        return self

    @model_validator(mode="after")
    def _evaluates_in_reason(self) -> Self:
        every_s, stop_s = self.evaluate.every.time_s, self.stop.time
        if every_s is not None and stop_s is not None and stop_s / every_s > _MOST_EVALUATIONS:
            enough = format(10.0 ** math.ceil(math.log10(stop_s / _MOST_EVALUATIONS)), "time")
            what = f"{stop_s / every_s:.2g} evaluations until stop.time, {format(stop_s, 'time')}"
            raise wrong(f"{what}; write fewer than {_MOST_EVALUATIONS:,}, e.g. {enough}", "evaluate", "every")
        return self

    @model_validator(mode="after")
    def _regions_are_known(self, info: ValidationInfo) -> Self:
        known = None if self.costs.carbon is None else intensities(self.costs.carbon, folder_of(info)).regions
        problems = []
        for place, entry in enumerate(self.fleet):
            at = ("fleet", place, "region")
            if known is None and entry.region is not None:
                problems.append(wrong("counts only with costs.carbon; write that too, e.g. national", *at))
            if known is not None and entry.region not in known:
                missing = "region is missing, since costs.carbon is given"
                said = missing if entry.region is None else f"unknown '{entry.region}'"
                problems.append(wrong(f"{said}; {advice(entry.region or '', known)}", *at))
        if problems:
            raise together(problems)
        return self

    @model_validator(mode="after")
    def _what_is_placed_is_there(self, info: ValidationInfo) -> Self:
        placed = getattr(self.network.topology, "placement", {})
        names = {entry.profile(info).name for entry in self.fleet} if placed else set()
        for name in sorted(placed.keys() - names):
            what = f"the fleet has no such entry or device; {advice(name, names)}"
            raise wrong(what, "network", "topology", "placement", name)
        return self

    @model_validator(mode="after")
    def _rates_vary_in_one_way(self) -> Self:
        for place, entry in enumerate(self.fleet):
            if entry.jitter.link and self.network.sharing != "none":
                what = f"on a network with sharing: {self.network.sharing} rates vary over time, not from job to job"
                remedy = "leave this out, and write network.device_trace"
                raise wrong(f"{what}; {remedy}", "fleet", place, "jitter", "link")
        return self

    @model_validator(mode="after")
    def _can_tell_of_unseen(self) -> Self:
        if self.task.unseen and self.task.dataset.name == "quadratic":
            what = "quadratic problems have no accuracy, which is what is told of unseen clients"
            raise wrong(f"{what}; leave this out", "task", "unseen")
        return self

    @model_validator(mode="after")
    def _can_reach(self) -> Self:
        asked = {"stop": ("accuracy", self.stop.accuracy), "evaluate": ("target", self.evaluate.target)}
        for section, (key, value) in asked.items():
            if self.task.dataset.name == "quadratic" and value is not None:
                what = "quadratic problems have no accuracy, only a loss and a gradient_norm"
                raise wrong(f"{what}; leave this out, and stop by time, updates or aggregations", section, key)
        return self
