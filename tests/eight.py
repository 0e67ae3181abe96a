"""Eight clients of unlike speeds: a scenario small enough for every algorithm, and models with batch norms, with a
number for a parameter, and with dropout."""

from pathlib import Path

SCENARIO = """
name: eight
task:
  dataset: {name: synthetic, samples: 160, features: 16, classes: 4}
  partition: {kind: dirichlet, alpha: 0.5}
  clients: 8
  model: {name: mlp, hidden: [12]}
training: {lr: 0.05, batch_size: 5}
fleet: [{device: raspberry-pi-4, share: 1, link: wifi-home, variation: {compute: 0.5, link: 0.5}}]
schedule: {kind: sync, cohort: 4}
algorithm: fedavg
evaluate: {every: 2 aggregations}
stop: {aggregations: 4}
"""
MODEL = """
import torch
from torch import nn

def normed(shape, classes):
    convolution = [nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()]
    return nn.Sequential(*convolution, nn.Flatten(), nn.Linear(16, classes))

class Tempered(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(2.0))
        self.hidden, self.out = nn.Linear(16, 12), nn.Linear(12, classes)

    def forward(self, x):
        return self.out(torch.relu(self.hidden(x))) / self.temperature

def tempered(shape, classes):
    return Tempered(classes)

def dropping(shape, classes):
    return nn.Sequential(nn.Dropout(0.2), nn.Linear(16, 12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, classes))
"""


def write(folder: Path) -> Path:
    """The scenario as a file in `folder`, the models, ./model.py:normed, :tempered and :dropping, beside it."""
    (folder / "model.py").write_text(MODEL)
    path = folder / "eight.yaml"
    path.write_text(SCENARIO)
    return path
