"""Test helpers are imported by name from the folder of the tests that use them."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from processes import Server

from edgesim.execution.process import prepare_process
from edgesim.learning import training

# As in a run: two threads of one process wait for each other where anything else runs, as other tests do.
prepare_process()

# A law does not fail for being slow: the machine may be.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Starts `edgesim` commands as processes of their own."""
    started = Server(tmp_path_factory.mktemp("edgesim"), hash_seed=0)
    yield started
    started.close()


@pytest.fixture
def step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of plain SGD are not left to the kernel as a whole, so that algorithms can be compared to the bit."""
    monkeypatch.setattr(training.Learner, "_descending", lambda *_: None)
