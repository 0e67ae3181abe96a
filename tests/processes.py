"""Real `edgesim` processes for tests, without paying the seconds that importing takes for each.

A server process imports what the command will need and forks; each fork is a process in a session of its own
that runs the command line's `main` and may be killed at any instant. No tensor is made before a fork.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

Files = dict[str, bytes]


def files(folder: Path) -> Files:
    """Every file under a folder, hidden ones too: relative path → content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def unlike(one: Files, two: Files) -> list[str]:
    """The files that are not the same in both, for a message that can be read."""
    return [name for name in sorted(one.keys() | two.keys()) if one.get(name) != two.get(name)]


def wait_until(what: Callable[[], bool], *, limit_s: float = 60.0, every_s: float = 0.002) -> bool:
    """Whether `what` came true; the limit only keeps a broken test from waiting for ever."""
    end = time.monotonic() + limit_s
    while not (true := what()) and time.monotonic() < end:
        time.sleep(every_s)
    return true


@dataclass(frozen=True)
class Ended:
    """A process that ended: its exit code (negative: the signal that killed it) and what it printed."""

    code: int
    out: str
    err: str


class Process:
    """A command at work, the leader of a process group."""

    def __init__(self, server: "Server", pid: int, printed: Path) -> None:
        self._server, self.pid, self._printed = server, pid, printed
        self._code: int | None = None

    def running(self) -> bool:
        if self._code is None:
            self._code = self._server.ask(poll=self.pid)
        return self._code is None

    def wait(self) -> Ended:
        if self._code is None:
            self._code = int(self._server.ask(wait=self.pid))
        return Ended(self._code, *(self._printed.with_suffix(s).read_text() for s in (".out", ".err")))

    def wait_for(self, what: Callable[[], bool]) -> None:
        """Until `what` is true; a command that ends before that fails the test."""
        assert wait_until(lambda: what() or not self.running())
        assert what(), self.wait().err

    def kill(self) -> Ended:
        """SIGKILL to the whole group, if there still is one."""
        if self.running():
            os.killpg(self.pid, signal.SIGKILL)
        return self.wait()

    def send(self, number: signal.Signals) -> None:
        """A signal to the process alone."""
        if self.running():
            os.kill(self.pid, number)


def refused(ended: Ended, *told: str) -> None:
    """Exit code 2, the message on stderr and nothing else."""
    assert (ended.code, ended.out) == (2, ""), ended.err
    assert "Traceback" not in ended.err
    for text in told:
        assert text in ended.err


class Server:
    """Starts commands; all share one PYTHONHASHSEED."""

    def __init__(self, folder: Path, hash_seed: int) -> None:
        self._folder, self._count = folder, 0
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        )

    def ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, *arguments: str | Path, cwd: Path | None = None) -> Process:
        """Begin `edgesim` with these arguments."""
        self._count += 1
        printed = self._folder / f"printed-{os.getpid()}-{self._count}"
        argv = [str(argument) for argument in arguments]
        return Process(self, self.ask(start=argv, cwd=str(cwd or self._folder), printed=str(printed)), printed)

    def run(self, *arguments: str | Path, cwd: Path | None = None) -> Ended:
        """`edgesim` with these arguments, to its end."""
        return self.start(*arguments, cwd=cwd).wait()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


# ── in the server ───────────────────────────────────────────────────────────────────────────────────────
def _serve(requests: Iterator[str]) -> None:
    for needed in ("edgesim.console", "sklearn.datasets"):
        import_module(needed)
    from edgesim.scenario import sidebyside

    sidebyside.PATIENCE_S = 0.0  # these runs are short, and yet to be shared
    ended: dict[int, int] = {}
    for line in requests:
        request = json.loads(line)
        if "start" in request:
            pid = os.fork()
            if pid == 0:
                _become(request["start"], Path(request["cwd"]), Path(request["printed"]))
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.setpgid(pid, pid)  # here too, so that the group is there before the answer is
            answer: int | None = pid
        else:
            pid = request.get("wait") or request["poll"]
            if pid not in ended:
                found, status = os.waitpid(pid, 0 if "wait" in request else os.WNOHANG)
                if found:
                    ended[pid] = os.waitstatus_to_exitcode(status)
            answer = ended.get(pid)
        print(json.dumps(answer), flush=True)


def _become(argv: Sequence[str], cwd: Path, printed: Path) -> NoReturn:
    code = 70  # for what `main` lets through, which it never should
    try:
        os.setpgid(0, 0)
        for number, path in (
            (0, Path("/dev/null")),
            (1, printed.with_suffix(".out")),
            (2, printed.with_suffix(".err")),
        ):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
            os.dup2(descriptor, number)
        os.chdir(cwd)
        sys.argv = ["edgesim", *argv]
        from edgesim.cli import main

        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(iter(sys.stdin.readline, ""))
