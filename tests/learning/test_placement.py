"""A cohort crosses over to the device and back: each tensor once, each with the numbers and the shape it had."""

import torch
from labelled import CARD, Labelled, Labels

from edgesim.learning import tree
from edgesim.learning.placement import HOST, Crossing, moved, placed
from edgesim.learning.task import make_task

MODEL = {"w": torch.arange(6.0).view(2, 3), "b": torch.tensor(2.0)}


def test_what_all_were_sent_goes_over_once() -> None:
    """One row of a stride of 0 is all there is to copy, and there it is repeated again, in no more memory."""
    sent = tree.stack([{"params": MODEL}] * 100)
    with Labels():
        there = Crossing(CARD).there(sent)["params"]
        assert there["w"].shape == (100, 2, 3)
        assert there["w"].stride() == (0, 3, 1)
        assert isinstance(there["w"], Labelled)
        assert there["w"].host.untyped_storage().nbytes() == 24
        assert torch.equal(there["w"].cpu(), sent["params"]["w"])


def test_what_comes_back_as_it_went_is_the_same_object() -> None:
    """So a mask that nobody moved is the client's own, as on the host; and what is new has its numbers."""
    state = tree.stack([{"mask": {"w": MODEL["w"] > row}} for row in range(4)])
    with Labels() as labels:
        crossing = Crossing(CARD)
        there = crossing.there(state)
        back = crossing.back({"mask": there["mask"], "new": {"w": ~there["mask"]["w"]}})
    assert back["mask"]["w"] is state["mask"]["w"]
    assert torch.equal(back["new"]["w"], ~state["mask"]["w"])
    assert labels.moved == {"there": 1, "back": 1}


def test_views_lone_numbers_and_nothing_cross_over() -> None:
    params = {"turned": MODEL["w"].t(), "lone": MODEL["b"], "none": torch.empty(0, 3), "all": torch.zeros(()).expand(5)}
    with Labels():
        back = moved(moved(params, CARD), HOST)
    for name, tensor in params.items():
        assert torch.equal(back[name], tensor)
        assert back[name].shape == tensor.shape
    assert back["all"].stride() == (0,)


def test_on_the_host_nothing_is_touched() -> None:
    task = make_task(dataset="digits", clients=6, model="mlp", seed=0)
    state = {"params": MODEL}
    assert placed(task, HOST) is task
    assert Crossing(HOST).there(state) is state
    assert Crossing(HOST).back(state) is state
    with Labels():
        there = placed(task, CARD)
    assert (there.x.device, there.y.device, there.model) == (CARD, CARD, task.model)
