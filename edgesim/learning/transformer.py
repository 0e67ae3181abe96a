"""A small character transformer: the next character after a text."""

import math
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from typing_extensions import Doc

from edgesim.errors import ScenarioError
from edgesim.learning.blocks import Adapter, Adapters, named
from edgesim.learning.tree import Shape


class Attention(nn.Module):
    """Causal self-attention of several heads (Vaswani et al. 2017, arXiv:1706.03762)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each [B, head, place, ·]
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        places = torch.arange(x.shape[1], device=x.device)
        seen = scores.masked_fill(places > places.unsqueeze(1), -math.inf).softmax(-1) @ v
        out: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return out


class Layer(nn.Module):
    """Attention and a two-layer perceptron of 4·dim units, each normalised before and added to its input."""

    def __init__(self, dim: int, heads: int, adapters: int | None) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(dim), Attention(dim, heads)
        self.norm2, self.gelu = nn.LayerNorm(dim), nn.GELU()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.adapter = Adapter(nn.Linear(dim, adapters), nn.Linear(adapters, dim)) if adapters else named([])

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        out: Tensor = self.adapter(x + self.fc2(self.gelu(self.fc1(self.norm2(x)))))
        return out


class Transformer(nn.Module):
    """Tokens [B, length] → logits [B, classes] of the token that follows."""

    def __init__(self, length: int, classes: int, dim: int, layers: list[Layer]) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(classes, dim), nn.Embedding(length, dim)
        self.layers = nn.Sequential(*layers)
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, classes)
        for table in (self.tokens, self.places):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x) + self.places(torch.arange(x.shape[1], device=x.device))
        out: Tensor = self.head(self.norm(self.layers(h)[:, -1]))
        return out


def transformer(
    input_shape: Shape,
    classes: int,
    *,
    dim: Annotated[int, Gt(0), Doc("numbers that stand for a character")] = 64,
    layers: Annotated[int, Ge(1), Lt(100), Doc("how many layers")] = 2,
    heads: Annotated[int, Gt(0), Doc("attention heads; they share dim equally")] = 4,
    adapters: Adapters = None,
) -> nn.Module:
    """A causal transformer with norms before (Xiong et al. 2020, arXiv:2002.04745), for texts like shakespeare.

    Characters and their places are embedded; the last place tells the next character. No dropout.
    """
    if len(input_shape) != 1:
        raise ScenarioError(f"model transformer wants texts [length]; the data has shape {list(input_shape)}")
    if dim % heads:
        raise ScenarioError(
            f"model transformer: {heads} heads cannot share dim {dim} equally; write a multiple of heads"
        )
    return Transformer(input_shape[0], classes, dim, [Layer(dim, heads, adapters) for _ in range(layers)])
