"""An algorithm of a user's own whose workers die, or fail, while they train; never the process that made the orders."""

from pathlib import Path

PACE = "LOOK_EVERY_S = 0.005"  # a file beside it
ALGORITHM = """
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from dying_pace import LOOK_EVERY_S

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
            time.sleep(LOOK_EVERY_S)
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
            time.sleep(LOOK_EVERY_S)


@dataclass(frozen=True, kw_only=True)
class Failing(Dying):
    def die(self):
        Path(self.folder, "death-0").touch()
        raise ZeroDivisionError("in a worker")
"""


def write(folder: Path) -> list[Path]:
    """The files of the algorithm; what to name is ./dying.py."""
    texts = {"dying.py": ALGORITHM, "dying_pace.py": PACE}
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]
