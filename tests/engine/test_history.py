"""What selectors are told of the past: jobs together are jobs one after the other."""

import numpy as np
import pytest
from choosing import Past, S

from edgesim.engine.history import History
from edgesim.engine.job import Job, SmoothJobs
from edgesim.engine.learning import Loss
from edgesim.engine.ledger import Ledger
from edgesim.engine.scalars import MANY


def told(history: History) -> dict[str, object]:
    columns = (history.duration_ns, history.last_version, history.dispatched_ns, history.arrived, history.heard())
    losses = [history.loss(client) for client in range(len(history.arrived))]
    return {"columns": [column.tolist() for column in columns], "losses": losses}


def test_nothing_is_known_before_a_client_was_chosen() -> None:
    history = History(Ledger(2), lambda _: None)
    assert told(history) == {"columns": [[-1, -1], [-1, -1], [-1, -1], [0, 0], []], "losses": [None, None]}
    assert history.version == 0
    assert history.is_new(0)


def test_jobs_that_arrive_together_are_as_if_each_arrived() -> None:
    """Client 1 was heard of before; of 3, 1 and 0 that come together, 3 and 0 are new, in this order."""
    together, apart = Past(4), Past(4)
    for past in (together, apart):
        past.job(1, 0, took_s=5.0, loss=9.0)
        past.job_loss |= {7: Loss(2.0, 4.0), 8: Loss(3.0, 9.0)}
    number, client, n = np.array([7, 8, 9]), np.array([3, 1, 0]), np.zeros(3, np.int64)
    began_s, ended_s = np.array([1, 2, 3]), np.array([4, 6, 9])
    edges_ns = S * np.array([began_s, began_s + 1, began_s + 2, ended_s])
    together.arrive_together(
        SmoothJobs(
            number=number, client=client, version=n, batch_size=n, staleness=n, edges_ns=edges_ns,
            sizes=np.zeros((3, 3), np.int64), flops=np.zeros(3), energy_j=np.zeros((3, 3)),
        )
    )  # fmt: skip
    for job, of, since_s, until_s in zip(
        *(column.tolist() for column in (number, client, began_s, ended_s)), strict=True
    ):
        apart.arrive(Job(job, of, 0, since_s * S, 0, 0, 0, 0.0, 0), until_s * S)
    assert together.heard().tolist() == [1, 3, 0]
    assert together.duration_ns.tolist() == [6 * S, 4 * S, -1, 3 * S]
    assert together.arrived.tolist() == [1, 2, 0, 1]
    assert told(together) == told(apart)
    assert [together.loss(of) for of in (3, 1)] == [Loss(2.0, 4.0), Loss(3.0, 9.0)]


@pytest.mark.parametrize("chosen", [1, MANY - 1, MANY, 2 * MANY])
def test_however_many_are_chosen_each_is_noted(chosen: int) -> None:
    history = History(Ledger(chosen + 1))
    history.dispatch(range(chosen), 3, 5 * S)
    assert history.last_version.tolist() == [3] * chosen + [-1]
    assert history.dispatched_ns.tolist() == [5 * S] * chosen + [-1]
