"""The gradient by hand of a chain of layers is autograd's, and whatever is not such a chain is left to autograd."""

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from edgesim.learning.batches import Batch
from edgesim.learning.chain import Chain, chain
from edgesim.learning.kernels import Autograd, Loop, kernel
from edgesim.learning.layered import dense_layers
from edgesim.learning.tree import Params

Conv, Pool, Relu, Flat, Linear, Seq = nn.Conv2d, nn.MaxPool2d, nn.ReLU, nn.Flatten, nn.Linear, nn.Sequential
SAME = nn.ReLU()  # one object in two places

CHAINS = {  # for images 2×9×8
    "as W2 and W3": Seq(Conv(2, 4, 5, padding=2), Relu(), Pool(2), Conv(4, 6, 5, padding=2), Relu(), Pool(2), Flat(),
                        Linear(24, 7), Relu(), Linear(7, 5)),
    "strides, odd padding": Seq(Conv(2, 4, (3, 2), stride=(2, 1), padding=(1, 0)), Relu(), Flat(), Linear(140, 5)),
    "no biases": Seq(Conv(2, 4, 3, bias=False), Pool(2), Relu(), Flat(), Linear(36, 6, bias=False), Relu(),
                     Linear(6, 5, bias=False)),
    "groups and dilation": Seq(Conv(2, 4, 3, groups=2, dilation=2), Relu(), Conv(4, 4, 1, groups=4), Flat(),
                               Linear(80, 5)),
    "overlapping, padded pooling": Seq(Conv(2, 4, 3), Relu(), Pool(3, stride=2, padding=1, ceil_mode=True), Flat(),
                                       Linear(64, 5)),
    "dilated pooling, twice": Seq(Conv(2, 4, 3), Pool(2, stride=1, dilation=2), Relu(), Relu(), Pool(2), Flat(),
                                  Linear(16, 5)),
    "pooling first": Seq(Pool(2), Conv(2, 3, 3), Relu(), Flat(), Linear(12, 5)),
    "one channel between": Seq(Conv(2, 1, 3, padding=1), Relu(), Pool(2), Conv(1, 3, 3), Flat(), Relu(), Linear(12, 5)),
    "convolutions to the end": Seq(Conv(2, 3, 3), Relu(), Conv(3, 5, (7, 6)), Flat()),
    "named and nested": Seq(OrderedDict(body=Seq(Conv(2, 3, 3), SAME, Pool(2)), flat=Flat(), head=Seq(Linear(27, 5)))),
    "one ReLU in two places": Seq(Flat(), Linear(144, 6), SAME, Linear(6, 6), SAME, Linear(6, 5)),
    "ReLU at the end": Seq(Flat(), Linear(144, 5), Relu()),
}  # fmt: skip


def by_hand(module: nn.Module) -> Chain:
    one = chain(module)
    assert one is not None
    return one


def case(module: nn.Module) -> tuple[Params, Tensor, Tensor]:
    """Parameters, images and labels, always the same."""
    draw = torch.Generator().manual_seed(0)
    params = {n: 0.3 * torch.randn(t.shape, generator=draw) for n, t in module.named_parameters()}
    return params, torch.randn(7, 2, 9, 8, generator=draw), torch.randint(0, 5, (7,), generator=draw)


@pytest.mark.parametrize("module", CHAINS.values(), ids=list(CHAINS))
def test_the_gradient_by_hand_is_that_of_autograd(module: nn.Module) -> None:
    params, x, y = case(module)
    expected, got = Autograd(module).gradient(params, x, y), by_hand(module).gradient(params, x, y)
    assert list(got) == list(params)
    for name, tensor in expected.items():
        assert float(tensor.abs().max()) > 1e-4, "a gradient of nothing would prove nothing"
        torch.testing.assert_close(got[name], tensor, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(by_hand(module).logits(params, x), Autograd(module).logits(params, x))


@pytest.mark.parametrize("module", CHAINS.values(), ids=list(CHAINS))
def test_what_goes_in_is_not_changed_and_the_same_comes_out_again(module: nn.Module) -> None:
    params, x, y = case(module)
    first, second = by_hand(module).gradient(params, x, y), by_hand(module).gradient(params, x, y)
    by_hand(module).logits(params, x)
    before, images, labels = case(module)
    assert torch.equal(x, images)
    assert torch.equal(y, labels)
    for name, tensor in before.items():
        assert torch.equal(params[name], tensor)
        assert torch.equal(first[name], second[name])
        assert first[name].data_ptr() != second[name].data_ptr()


def test_memory_layout_is_not_part_of_a_value() -> None:
    module = CHAINS["as W2 and W3"]
    params, x, y = case(module)
    last = {n: t.clone(memory_format=torch.channels_last) if t.dim() == 4 else t for n, t in params.items()}
    assert last["0.weight"].stride() != params["0.weight"].stride()
    for name, tensor in by_hand(module).gradient(params, x, y).items():
        torch.testing.assert_close(by_hand(module).gradient(last, x, y)[name], tensor)


class Doubled(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def tied() -> nn.Module:
    module = Seq(Flat(), Linear(4, 4), Linear(4, 4))
    module[2].weight = module[1].weight
    return module


def pruned() -> nn.Module:
    return Seq(Flat(), nn.utils.parametrizations.weight_norm(Linear(4, 4)))


TWICE = nn.Linear(4, 4)


@pytest.mark.parametrize(
    "module",
    [
        Seq(Conv(1, 1, 3, padding="same"), Flat(), Linear(4, 2)),
        Seq(Conv(1, 1, 3, padding=1, padding_mode="circular"), Flat(), Linear(4, 2)),
        Seq(Conv(1, 1, 3), nn.Sigmoid(), Flat(), Linear(4, 2)),
        Seq(Doubled(1, 1, 3), Flat(), Linear(4, 2)),
        Seq(Relu(), Conv(1, 1, 3), Flat(), Linear(4, 2)),  # in place, it would change the data
        Seq(Flat(), Relu(), Linear(4, 2)),
        Seq(Linear(4, 3), Conv(1, 1, 3), Flat()),
        Seq(Conv(1, 1, 3), Flat(2), Linear(4, 2), Flat()),
        Seq(Conv(1, 1, 3), Linear(4, 2), Flat()),
        Seq(Flat(), TWICE, TWICE),
        tied(),
        pruned(),
        Seq(),
        Linear(4, 2),
    ],
)
def test_other_models_are_left_to_autograd(module: nn.Module) -> None:
    assert chain(module) is None
    loop = kernel(module, "loop")
    assert isinstance(loop, Loop)
    assert isinstance(loop.one, Autograd)


def test_the_loop_takes_the_chain_where_there_is_one() -> None:
    loop = kernel(CHAINS["as W2 and W3"], "loop")
    assert isinstance(loop, Loop)
    assert isinstance(loop.one, Chain)


def test_predictions_of_many_samples_are_those_of_each() -> None:
    """150 samples of two clients: more than are predicted at once."""
    module = CHAINS["no biases"]
    params, _, _ = case(module)
    both = {name: torch.stack([tensor, -tensor]) for name, tensor in params.items()}
    x = torch.randn(2, 150, 2, 9, 8)
    got = kernel(module, "loop").logits(both, x)
    for client, sign in enumerate((1, -1)):
        alone = Autograd(module).logits({name: sign * tensor for name, tensor in params.items()}, x[client])
        torch.testing.assert_close(got[client], alone, rtol=1e-4, atol=1e-5)


def test_samples_of_no_weight_do_not_count() -> None:
    module = CHAINS["as W2 and W3"]
    params, x, y = case(module)
    weight = torch.tensor([[0.2] * 5 + [0.0] * 2])
    got = kernel(module, "loop").gradient(
        {name: tensor.unsqueeze(0) for name, tensor in params.items()}, Batch(x.unsqueeze(0), y.unsqueeze(0), weight)
    )
    for name, tensor in Autograd(module).gradient(params, x[:5], y[:5]).items():
        torch.testing.assert_close(got[name][0], tensor, rtol=1e-4, atol=1e-6)


def test_a_relu_object_in_two_places_counts_twice_for_stacked_models_too() -> None:
    layers = dense_layers(Seq(Flat(), Linear(4, 3), SAME, Linear(3, 3), SAME, Linear(3, 2)))
    assert layers is not None
    assert [layer.relu for layer in layers] == [True, True, False]
    assert dense_layers(tied()) is None
