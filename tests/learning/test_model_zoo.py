"""The built-in networks against published figures: parameters, FLOPs, layer densities; and what they compute."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from edgesim.errors import ScenarioError
from edgesim.execution.backend import choose
from edgesim.learning import masks
from edgesim.learning.batches import Batch
from edgesim.learning.blocks import norm_layer
from edgesim.learning.kernels import kernel
from edgesim.learning.models import Model, make_model
from edgesim.learning.profile import profile_model

CIFAR, MNIST = (3, 32, 32), (1, 28, 28)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other on a busy machine make large networks many times as slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(name: str, shape: tuple[int, ...] = CIFAR, classes: int = 10, **params: object) -> Model:
    return make_model(
        name, params, input_shape=shape, classes=classes, folder=Path(), tokens=name == "transformer"
    )  # fmt: skip


def parameters(model: Model) -> int:
    """Those that are trained: statistics are none."""
    return sum(int(np.prod(shape)) for name, shape in model.shapes.items() if name not in model.statistics)


@pytest.mark.parametrize(
    ("model", "count"),
    [
        # 64·10 + 10 of a hidden layer of 64 on 784
        (lambda: make("mlp", MNIST), 784 * 64 + 64 + 64 * 10 + 10),
        # FEMNIST in LEAF: conv 5²·32 + 32, 32·5²·64 + 64, fc 3136·2048 + 2048, 2048·62 + 62
        (lambda: make("cnn", MNIST, 62, hidden=2048), 832 + 51_264 + 6_424_576 + 127_038),
        # DisPFL's cnn_cifar10: weights 4,800 + 102,400 + 1600·384 + 384·192 + 1,920 = 797,248; biases 714
        (lambda: make("cifar-cnn"), 797_248 + 714),
        # padded: 64·8·8 = 4,096 features instead of 1,600
        (lambda: make("cifar-cnn", padding=2), 797_962 + (4096 - 1600) * 384),
        # pFedHN's target: 16·75 + 16, 32·16·25 + 32, 800·120 + 120, 120·84 + 84, 84·10 + 10
        (lambda: make("lenet"), 1_216 + 12_832 + 96_120 + 10_164 + 850),
        # features 8,192 (32×32) and 6,272 (28×28); norms 2·(64 + 64 + 128)
        (lambda: make("cnn-bn"), 4_864 + 102_464 + 204_928 + 512 + 8192 * 2048 + 2048 + 1_049_088 + 5_130),
        (lambda: make("cnn-bn", MNIST), 1_664 + 102_464 + 204_928 + 512 + 6272 * 2048 + 2048 + 1_049_088 + 5_130),
        # weights 9,222,848, biases 2,752 + 10, norms 2 · 2,752
        (lambda: make("vgg11", norm="batch"), 9_231_114),
        (lambda: make("vgg11", norm="none"), 9_225_610),
        # FLASH's and everybody's ResNet18 for CIFAR-10: 20 convolutions 11,159,232, norms 9,600, fc 5,130
        (lambda: make("resnet18", norm="batch"), 11_173_962),
        (lambda: make("resnet18"), 11_173_962),
        (lambda: make("resnet18", norm="none"), 11_159_232 + 5_130),
        # a quarter of the channels: 3·9·16, then 4·9·16², shortcuts and all by 16, 32, 64 and 128
        (lambda: make("resnet18", width=0.25, norm="none"), 432 + 697_344 + 128 * 10 + 10),
        # eight adapters of 16 units: 2·16·c + 16 + c each, c = 64, 128, 256, 512 twice
        (lambda: make("resnet18", adapters=16), 11_173_962 + 2 * (2 * 16 * 960 + 4 * 16 + 960)),
        # tokens 65·64, places 80·64, two layers of 12·64² + 13·64, norm 128, head 65·64 + 65
        (lambda: make("transformer", (80,), 65), 4_160 + 5_120 + 2 * (49_152 + 832) + 128 + 4_225),
        (lambda: make("transformer", (80,), 65, adapters=8), 113_601 + 2 * (2 * 8 * 64 + 8 + 64)),
    ],
)
def test_parameters_are_those_of_the_paper_or_its_code(model: Callable[[], Model], count: int) -> None:
    assert parameters(model()) == count


SMALL = {
    "cifar-cnn": make("cifar-cnn", width=0.1),
    "lenet": make("lenet", MNIST),
    "cnn-bn": make("cnn-bn", (2, 9, 8), width=0.05),
    "vgg11": make("vgg11", width=0.1),
    "resnet18": make("resnet18", (3, 16, 16), width=0.1, norm="batch", adapters=3),
    "transformer": make("transformer", (7,), 5, dim=8, heads=2, adapters=3),
}


@pytest.mark.parametrize("model", SMALL.values(), ids=list(SMALL))
def test_dense_flops_are_those_of_torchs_counter_forward_and_backward(model: Model) -> None:
    module, profile = model.build().train(), profile_model(model)
    with FlopCounterMode(display=False) as forward:
        out = module(model.zeros(4))
    with FlopCounterMode(display=False) as backward:
        out.sum().backward()
    other = profile.other_flops / 3  # attention scores: once forward, twice backward
    assert 4 * (profile.forward_flops.sum() + other) == forward.get_total_flops()
    gradients = profile.input_grad_flops + profile.weight_grad_flops
    assert 4 * (gradients.sum() + 2 * other) == backward.get_total_flops()


def test_every_weight_of_a_residual_network_costs_what_its_places_do() -> None:
    """2 · weights · places: 16×16 in the first stage, then 8×8, 4×4, 2×2; shortcuts count at their output."""
    model = make("resnet18", (3, 16, 16), width=0.125)
    profile = profile_model(model)
    places = {"1": 256, "2": 64, "3": 16, "4": 4}
    for name, forward, back, size in zip(
        profile.names, profile.forward_flops, profile.input_grad_flops, profile.elements, strict=True
    ):
        area = 256 if name.startswith("conv1") else 1 if name.startswith("fc") else places.get(name[5:6], 0)
        assert forward == (2 * size * area if "conv" in name or name == "fc.weight" else 0)
        assert back == (0 if name == "conv1.weight" else forward)


ERK = [  # densities that were worked out from RigL's routine over weights alone, with its FLOPs in proportion
    ("resnet18", 11_164_352, 1110.8, (0.796, 0.508, 0.248, 0.125)),
    ("vgg11", 9_222_848, 305.5, (0.703, 0.365, 0.188, 0.099)),
    ("cifar-cnn", 797_248, 29.4, (0.422, 0.297, 0.147, 0.072)),
]


@pytest.mark.parametrize(("name", "weights", "mega_flops", "shares"), ERK, ids=[row[0] for row in ERK])
def test_erk_keeps_more_flops_than_weights(
    name: str, weights: int, mega_flops: float, shares: tuple[float, ...]
) -> None:
    model = make(name)
    profile, shapes = profile_model(model), masks.maskable(model.shapes)
    assert [n for n, can in zip(profile.names, profile.maskable, strict=True) if can] == list(shapes)
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == weights
    dense = profile.forward_flops.sum()
    assert dense / 1e6 == pytest.approx(mega_flops, abs=0.05)
    for density, share in zip((0.5, 0.2, 0.1, 0.05), shares, strict=True):
        spread = masks.erk(shapes, density)
        kept = sum(spread.get(n, 1.0) * f for n, f in zip(profile.names, profile.forward_flops, strict=True))
        assert kept / dense == pytest.approx(share, abs=6e-4)


def test_erk_densities_of_single_layers() -> None:
    half = {n: masks.erk(masks.maskable(make(n).shapes), 0.5) for n, *_ in ERK}
    resnet, vgg, cnn = half["resnet18"], half["vgg11"], half["cifar-cnn"]
    sparse = {name: density for name, density in resnet.items() if density < 1}
    assert {round(density, 3) for density in sparse.values()} == {0.72, 0.538, 0.358}
    assert round(resnet["block4_1.conv1.weight"], 3) == 0.538
    assert round(resnet["block3_2.conv2.weight"], 3) == 0.72
    assert [round(density, 3) for density in vgg.values()] == [1, 1, 1, 0.849, 0.634, 0.422, 0.422, 0.422, 1]
    assert [round(density, 3) for density in cnn.values()] == [1, 0.202, 0.484, 1, 1]


def test_group_norms_have_32_groups_of_at_least_two_channels() -> None:
    for channels, groups in ((64, 32), (512, 32), (16, 8), (6, 1), (48, 8), (33, 1), (1, 1)):
        layer = norm_layer("group", channels)
        assert isinstance(layer, torch.nn.GroupNorm)
        assert layer.num_groups == groups


@pytest.mark.parametrize(("name", "shape"), [("resnet18", (3, 8, 8)), ("transformer", (5,))])
def test_a_network_starts_as_if_it_had_no_adapters(name: str, shape: tuple[int, ...]) -> None:
    options = {"width": 0.1} if name == "resnet18" else {"dim": 8, "heads": 2}
    bare, adapted = make(name, shape, **options), make(name, shape, adapters=3, **options)
    params = {**adapted.init(1), **bare.init(0)}
    assert {n for n in adapted.shapes if "adapter" in n} == adapted.shapes.keys() - bare.shapes.keys()
    x = torch.randint(0, 10, (4, *shape))
    x = x if name == "transformer" else x.float()
    with torch.no_grad():
        assert functional_call(adapted.build(), params, (x,)).equal(functional_call(bare.build(), bare.init(0), (x,)))


def test_attention_sees_the_past_only_and_the_answer_belongs_to_the_last_place() -> None:
    module = make("transformer", (6,), 9, dim=8, heads=2).build()
    attention = module.layers[0].attention  # type: ignore[union-attr, index]
    x = torch.randn(1, 6, 8)
    later = x.clone()
    later[:, 4:] += 1
    with torch.no_grad():
        assert torch.allclose(attention(x)[:, :4], attention(later)[:, :4])
        assert not torch.allclose(attention(x)[:, 4:], attention(later)[:, 4:])
        text = torch.arange(6).unsqueeze(0)
        assert not torch.allclose(module(text), module(text.flip(1)))


@pytest.mark.parametrize(("name", "shape"), [("cnn-bn", (2, 8, 8)), ("transformer", (5,))])
def test_stacked_clients_learn_as_alone_and_samples_of_no_weight_do_not_count(
    name: str, shape: tuple[int, ...]
) -> None:
    model = make(name, shape, **({"width": 0.05, "norm": "group"} if name == "cnn-bn" else {"dim": 8, "heads": 2}))
    params = {n: torch.stack([model.init(seed)[n] for seed in (0, 1)]) for n in model.shapes}
    x, y = torch.randint(0, 10, (2, 4, *shape)), torch.randint(0, 10, (2, 4))
    weight = torch.tensor([[0.25] * 4, [0.5, 0.5, 0, 0]])
    batch = Batch(x if name == "transformer" else x.float() / 5 - 1, y, weight)
    together, alone = (kernel(model.module, backend) for backend in ("stacked", "loop"))
    stacked = together.gradient(params, batch)
    for n, tensor in alone.gradient(params, batch).items():
        torch.testing.assert_close(stacked[n], tensor, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(together.logits(params, batch.x), alone.logits(params, batch.x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.loss(params, batch), alone.loss(params, batch))
    assert choose(model.module, "auto") == "loop"


def test_texts_and_numbers_want_models_of_their_own() -> None:
    with pytest.raises(ScenarioError, match="model mlp wants numbers, and the data are texts: use model transformer"):
        make_model("mlp", {}, input_shape=(80,), classes=65, folder=Path(), tokens=True)
    with pytest.raises(
        ScenarioError, match="model transformer wants texts, and the data are numbers: use model mlp or"
    ):
        make_model("transformer", {}, input_shape=(80,), classes=65, folder=Path())
    with pytest.raises(ScenarioError, match="4 heads cannot share dim 6 equally"):
        make("transformer", (5,), dim=6)
