"""The execution of a scenario: how a run is carried out. No part of what is simulated."""

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from edgesim.explain import wrong
from edgesim.scenario.section import Count, Section
from edgesim.units import Bytes, Seconds

_OF_RAY = ("address", "workers", "gpus_per_worker")


class Execution(Section):
    """How the run is carried out; it is no part of what is simulated, nor of the scenario's hash."""

    kind: Literal["local", "ray"] = "local"
    """where clients are trained: local, on this machine; ray, on the workers of a Ray cluster"""
    address: str = "auto"
    """of the Ray cluster: auto, the one that RAY_ADDRESS names or that was started on this machine; HOST:PORT;
    ray://HOST:PORT, from outside; local, one of this machine's cores alone, for the time of the run"""
    workers: Count | None = None
    """workers of the Ray cluster, one core each; by default as many as it has room for"""
    gpus_per_worker: float = Field(default=0.0, ge=0)
    """of the Ray cluster; a part, such as 0.25, lets that many workers share one"""
    backend: Literal["auto", "loop", "stacked", "none"] = "auto"
    """loop: one client at a time; stacked: a cohort at once; auto: whichever is faster for model and device; none:
    nothing is trained, only costs are worked out (`edgesim estimate`)"""
    cohort: Count = 128
    """clients trained at once when stacked"""
    device: str = "cpu"
    """where clients are trained and models evaluated: cpu; cuda, this machine's GPU; cuda:1, its second"""
    memory: Bytes = Field(default=2e9, gt=0)
    """for the clients' own states, masks and the like; what exceeds it waits on disk"""
    checkpoint_every: Seconds = Field(default=60.0, gt=0)
    """real time between checkpoints"""

    @field_validator("address")
    @classmethod
    def _is_address(cls, text: str) -> str:
        if text not in ("auto", "local") and not re.fullmatch(r"(ray://)?[^/:\s]+:\d+", text):
            raise ValueError(f"got '{text}'; write auto, local, HOST:PORT or ray://HOST:PORT")
        return text

    @field_validator("device")
    @classmethod
    def _is_device(cls, text: str) -> str:
        if not re.fullmatch(r"cpu|cuda(:(0|[1-9]\d*))?", text):
            raise ValueError(f"got '{text}'; write cpu, cuda, or cuda:1 for the second GPU")
        return text

    @model_validator(mode="after")
    def _is_lent(self) -> Self:
        """Ray shows a worker no more GPUs than it lends it, and these count from 0."""
        if self.kind == "ray" and self.device != "cpu":
            if not self.gpus_per_worker:
                raise wrong(
                    "a worker of the Ray cluster is lent no GPU; write gpus_per_worker: 1 beside it, or 0.25 where "
                    "four are to share one", "device",
                )  # fmt: skip
            if self.device != "cuda":
                raise wrong(f"got '{self.device}', but the Ray cluster says which GPU is whose; write cuda", "device")
        return self

    @model_validator(mode="after")
    def _only_of_ray(self) -> Self:
        for key in _OF_RAY:
            if self.kind != "ray" and getattr(self, key) != type(self).model_fields[key].default:
                raise wrong("only a Ray cluster has that; write kind: ray beside it, or leave it out", key)
        return self
