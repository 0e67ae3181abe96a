"""FedAlt and FedSim: partial model personalisation (Pillutla et al. 2022, arXiv:2204.03809).

    FedAlt   v_k ← v_k − η ∇_v f_k(u, v_k)      E_v epochs, u frozen
             u_k ← u_k − η ∇_u f_k(u_k, v_k)    E epochs, v_k frozen, with an optimiser of its own
    FedSim   (u, v_k) ← (u, v_k) − η ∇f_k       E epochs, jointly
    server   u ← u + Σ_k p_k (u_k − u), or a step of the server's optimiser on that

The personal part is the input layer, the head, or adapters (github facebookresearch/FL_partial_personalization,
which trains both parts for one epoch each). FedAlt is FedRep with any split, FedSim FedPer.
"""

from dataclasses import dataclass
from typing import ClassVar

from edgesim.algorithms.fedper import FedPer
from edgesim.algorithms.fedrep import FedRep

_PAPER = "Pillutla et al. 2022, arXiv:2204.03809"


@dataclass(frozen=True, kw_only=True)
class FedAlt(FedRep):
    """First the personal part on a frozen rest, then the rest."""

    summary: ClassVar[str] = "partial personalisation: the personal part first, then the shared one"
    paper: ClassVar[str] = _PAPER


@dataclass(frozen=True, kw_only=True)
class FedSim(FedPer):
    """Personal and shared part together."""

    summary: ClassVar[str] = "partial personalisation: personal and shared part together"
    paper: ClassVar[str] = _PAPER
