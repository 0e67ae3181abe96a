"""Models and tasks: seeded starts, shapes, a user's own factory, and what is refused."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from edgesim import references
from edgesim.errors import ScenarioError
from edgesim.learning.models import Model, make_model
from edgesim.learning.profile import profile_model
from edgesim.learning.task import Task, make_task

FACTORIES = """
import torch
from torch import nn

def net(input_shape, classes, *, width=4):
    hidden = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.GroupNorm(2, width))
    return nn.Sequential(*hidden, nn.Linear(width, classes))

def normed(input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, classes))

def cumulative(input_shape, classes):
    return nn.Sequential(nn.BatchNorm2d(1, momentum=None), nn.Flatten(), nn.Linear(64, classes))

def untracked(input_shape, classes):
    return nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), nn.Flatten(), nn.Linear(64, classes))

def constant(input_shape, classes):
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
    module.register_buffer("scale", torch.ones(1))
    return module

def dropping(input_shape, classes):
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(64, classes)

        def forward(self, x):
            return torch.nn.functional.dropout(self.fc(x.flatten(1)))  # training=True is its default

    return Dropping()

class Recurrent(nn.Module):
    def __init__(self, classes, dropout):
        super().__init__()
        self.rnn, self.fc = nn.LSTM(8, 4, 2, batch_first=True, dropout=dropout), nn.Linear(4, classes)

    def forward(self, x):
        return self.fc(self.rnn(x[:, 0])[0][:, -1])

def forgetful(input_shape, classes, *, dropout=0.5):
    return Recurrent(classes, dropout)

class Encoder(nn.Module):
    def __init__(self, classes, dropout):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=dropout, batch_first=True)
        self.fc = nn.Linear(8, classes)

    def forward(self, x):
        return self.fc(self.block(x[:, 0]).mean(1))

def encoder(input_shape, classes, *, dropout=0.0):
    return Encoder(classes, dropout)

class Tied(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.there, self.back, self.fc = nn.Linear(64, 4), nn.Linear(64, 4), nn.Linear(4, classes)
        self.back.weight = self.there.weight

    def forward(self, x):
        return self.fc(self.there(x.flatten(1)).relu() + self.back(-x.flatten(1)).relu())

def tied(input_shape, classes):
    return Tied(classes)

def double(input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes)).double()

def frozen(input_shape, classes):
    module = nn.Sequential(nn.Linear(8, 64), nn.Flatten(), nn.Linear(512, classes))
    module[0].requires_grad_(False)
    return module

def narrow(input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

def misfit(input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(63, classes))

def empty(input_shape, classes):
    return nn.Flatten()

def number(input_shape, classes):
    return 7

CONSTANT = 7
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(FACTORIES)
    return tmp_path


def make(name: str, folder: Path = Path(), shape: tuple[int, ...] = (1, 8, 8), **params: object) -> Model:
    return make_model(name, params, input_shape=shape, classes=10, folder=folder)


def test_shapes_of_the_built_in_models() -> None:
    assert make("mlp", hidden=[5, 4]).shapes == {
        "fc1.weight": (5, 64), "fc1.bias": (5,), "fc2.weight": (4, 5), "fc2.bias": (4,),
        "fc3.weight": (10, 4), "fc3.bias": (10,),
    }  # fmt: skip
    assert make("cnn", shape=(3, 28, 28)).shapes["fc1.weight"] == (128, 64 * 7 * 7)
    assert make("cnn", shape=(1, 9, 4)).shapes["fc1.weight"] == (128, 64 * 2 * 1)


def test_a_start_follows_the_seed_and_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model = make("cnn", channels=[2, 3], hidden=4)
    first, again, other = model.init(0), model.init(0), model.init(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert list(first) == list(model.shapes)
    assert {name: tuple(t.shape) for name, t in first.items()} == model.shapes
    assert all(first[name].equal(again[name]) for name in first)
    assert not any(first[name].equal(other[name]) for name in first)
    assert not any(tensor.requires_grad for tensor in first.values())


def test_the_template_computes_with_whatever_parameters_it_is_given() -> None:
    """Zero weights and biases 0 … 9 in the last layer: every output is 0 … 9."""
    model = make("mlp")
    params = {name: torch.zeros_like(tensor) for name, tensor in model.init(0).items()}
    params["fc2.bias"] = torch.arange(10.0)
    assert functional_call(model.module, params, torch.rand(3, 1, 8, 8)).tolist() == [[*range(10)]] * 3
    assert all(tensor.device.type == "meta" for tensor in model.module.parameters())


def test_a_users_factory_is_called_with_its_parameters(folder: Path) -> None:
    assert make("./mine.py:net", folder, width=6).shapes["1.weight"] == (6, 64)
    with pytest.raises(ScenarioError, match=r"factory failed for input \[1, 8, 8\], 10 classes and \{'depth': 3\}"):
        make("./mine.py:net", folder, depth=3)


def test_a_weight_that_serves_twice_is_one(folder: Path) -> None:
    """It is sent, and stepped, once; and its products are counted in both places."""
    model, counter = make("./mine.py:tied", folder), FlopCounterMode(display=False)
    assert list(model.shapes) == ["there.weight", "there.bias", "back.bias", "fc.weight", "fc.bias"]
    assert list(model.init(0)) == list(model.shapes)
    with counter:
        model.build()(model.zeros(1)).sum().backward()
    assert profile_model(model).total_flops == counter.get_total_flops()


@pytest.mark.parametrize("name", ["encoder", "forgetful"])
def test_dropout_of_nothing_is_none(folder: Path, name: str) -> None:
    assert [make(f"./mine.py:{name}", folder, dropout=rate).random for rate in (0.0, 0.5)] == [False, True]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("normed", r"it fails on input \[1, 1, 8, 8\]: .* last batch may hold one sample: use group norm"),
        ("cumulative", "'0' averages over all batches, which is not supported; give it a momentum"),
        ("untracked", "'0' keeps no running statistics, so predictions would depend on the batch"),
        ("constant", "'scale' is a buffer, which only batch norms may have"),
        ("dropping", r"what it predicts is drawn at random \(in eval mode\); use nn\.Dropout"),
        ("double", "'1.weight' is torch.float64; torch.float32 is wanted"),
        ("frozen", r"'0.weight' is frozen \(requires_grad is False\), but all parameters learn here"),
        ("narrow", r"its output for 2 samples is \[2, 3\]; \[2, 10\] is wanted"),
        ("misfit", r"it fails on input \[2, 1, 8, 8\]: mat1 and mat2"),
        ("empty", "it has no parameters"),
        ("number", r"the factory gave a int, not a torch\.nn\.Module"),
        ("CONSTANT", "is a int; a function that makes a module is wanted"),
    ],
)
def test_what_cannot_be_trained_is_refused(folder: Path, name: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        make(f"./mine.py:{name}", folder)


def test_wrong_names_and_inputs_are_refused() -> None:
    with pytest.raises(ScenarioError, match=r"model 'mpl' is unknown: did you mean mlp\?"):
        make("mpl")
    with pytest.raises(
        ScenarioError, match=r"wants images .* of at least 4×4; the data has shape \[20\]: use model mlp"
    ):
        make("cnn", shape=(20,))
    for shape in ((28, 28), (28, 28, 1)):
        with pytest.raises(ScenarioError, match=r"channels come first, so write each sample as \[1, 28, 28\]"):
            make("cnn", shape=shape)
    for name, shape in (("cnn", (1, 3, 8)), ("lenet", (1, 15, 16)), ("vgg11", (3, 31, 32)), ("resnet18", (3, 7, 8))):
        with pytest.raises(ScenarioError, match=f"model {name} wants images"):
            make(name, shape=shape)


def test_references_find_packages_and_files(folder: Path) -> None:
    assert references.resolve("threading:Thread", folder) is threading.Thread
    first = references.resolve("./mine.py:net", folder)
    assert references.resolve("mine.py:net", folder) is first  # run once
    (folder / "mine.py").write_text("def net(): ...\n")
    assert references.resolve("./mine.py:net", folder) is not first  # changed, so run anew


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine.py", "'mine.py' names no Python object: write package.module:Name or ./file.py:Name"),
        ("./mine.py:a b", "names no Python object"),
        ("./other.py:net", r"cannot read .*other\.py: No such file or directory"),
        ("./mine.py:nett", r"./mine.py has no 'nett': did you mean net\?"),
        ("nowhere_at_all:net", r"no module 'nowhere_at_all' is installed; .* write ./nowhere_at_all\.py:net"),
        ("json.nowhere:net", "no module 'json.nowhere' is installed"),
        ("./bad.py:net", r"running .*bad\.py:\d+ failed: ZeroDivisionError: division by zero"),
        (
            "./lost.py:net",
            r"running .*lost\.py:\d+ failed: ModuleNotFoundError: No module named 'nowhere_at_all'",
        ),
        ("./odd.py:net", r"running .*odd\.py failed: SyntaxError"),
    ],
)
def test_a_reference_that_leads_nowhere_is_explained(folder: Path, text: str, message: str) -> None:
    (folder / "bad.py").write_text("1 / 0")
    (folder / "lost.py").write_text("import nowhere_at_all")
    (folder / "odd.py").write_text("def net(:")
    with pytest.raises(ScenarioError, match=message):
        references.resolve(text, folder)


def digits_task(seed: int) -> Task:
    return make_task(clients=50, partition="dirichlet", partition_params={"alpha": 0.3}, seed=seed)


def test_a_task_is_pure_and_gives_each_sample_to_one_part_of_one_client() -> None:
    first, again, other = digits_task(0), digits_task(0), digits_task(1)
    assert first.clients == 50
    assert np.sort(np.concatenate([first.train.index, first.test.index])).tolist() == list(range(1797))
    assert min(first.train.count.min(), first.test.count.min()) >= 1
    for shards in ("train", "test"):
        assert np.array_equal(getattr(first, shards).index, getattr(again, shards).index)
        assert not np.array_equal(getattr(first, shards).index, getattr(other, shards).index)
    assert first.model.shapes["fc1.weight"] == (64, 64)


def test_a_task_that_cannot_be_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"task\.partition: 'dirichlt' is unknown: did you mean dirichlet\?"):
        make_task(clients=5, partition="dirichlt", seed=0)
    with pytest.raises(ScenarioError, match=r"task\.partition \(iid\): .* 1797 samples serve at most 898 clients"):
        make_task(clients=900, seed=0)
    with pytest.raises(ScenarioError, match=r"task\.partition \(dirichlet\): .*'alpha'"):
        make_task(clients=5, partition="dirichlet", seed=0)
