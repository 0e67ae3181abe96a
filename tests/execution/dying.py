"""An algorithm of a user's own whose workers die, or fail, while they train; never the process that made the orders."""

ALGORITHM = """
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from edgesim.algorithms.fedavg import FedAvg


@dataclass(frozen=True, kw_only=True)
class Dying(FedAvg):
    home: int
    folder: str
    times: int = 1

    def local_start(self, payload, client):
        if os.getpid() != self.home:
            self.die()
        while not self.deaths() and Path(self.folder, "armed").exists():  # until a worker has had its turn
            time.sleep(0.005)
        return super().local_start(payload, client)

    def deaths(self):
        return len(list(Path(self.folder).glob("death-*")))

    def die(self):
        if self.deaths() < self.times:
            Path(self.folder, f"death-{os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, kw_only=True)
class Waiting(Dying):
    def die(self):
        Path(self.folder, f"begun-{os.getpid()}").touch()
        while not Path(self.folder, "released").exists():
            time.sleep(0.005)


@dataclass(frozen=True, kw_only=True)
class Failing(Dying):
    def die(self):
        Path(self.folder, "death-0").touch()
        raise ZeroDivisionError("in a worker")
"""
