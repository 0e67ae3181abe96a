"""Terms: what a schedule asks of single jobs, as the algorithms' hooks see it: a context with another training."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from edgesim.algorithms.compressed import CompressedUpdates
from edgesim.algorithms.contract import Algorithm, Client, Context, Payload, overrides
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.messages import dense_bytes
from edgesim.algorithms.reporting import REPORT_BYTES, LossReports
from edgesim.algorithms.zerofl import ZeroFl
from edgesim.engine.learning import USUAL, Terms
from edgesim.errors import ScenarioError
from edgesim.learning import split

_OF_WHOLE_MODELS: Final = (
    "init_client", "download", "upload", "upload_bytes", "local_train", "local_end", "server_work",
)  # fmt: skip
_MEANS: Final = (Algorithm.aggregate, FedAvg.aggregate, ZeroFl.aggregate)


def at(terms: Sequence[Terms], place: int) -> Terms:
    """Those of a job by its place among the jobs dispatched together."""
    return terms[place] if terms else USUAL


def costs_alike(terms: Terms) -> Terms:
    """Terms of the same cost: the group makes no difference."""
    return terms if terms.group is None else terms._replace(group=None)


def under(context: Context, terms: Terms) -> Context:
    """The context of a job on these terms; the same one where they change nothing of the training."""
    if costs_alike(terms) == USUAL:
        return context
    training = context.training
    if terms.epochs is not None:
        training = replace(training, epochs=terms.epochs)
    if terms.layers is not None:
        training = replace(training, trained=split.last(context.task.model, terms.layers))
    return replace(context, training=training)


def upload_bytes(algorithm: Algorithm, context: Context, payload: Payload, who: Client) -> int | None:
    """As the algorithm says, or of a job that trains a part of the model and sends only that, with a report of its loss
    if it is to."""
    names, shapes = context.training.trained, context.task.model.shapes
    if names is None:
        return algorithm.upload_bytes(context, payload, who)
    report = REPORT_BYTES if isinstance(algorithm, LossReports) else 0
    return dense_bytes({name: shapes[name] for name in names}) + report


def check_epochs(algorithm: Algorithm, context: Context) -> None:
    """Raise ScenarioError unless a client's work follows the epochs that a schedule sets."""
    if not _flops(algorithm, context, Terms(epochs=2)) > _flops(algorithm, context, Terms(epochs=1)):
        raise ScenarioError(
            f"schedule.kind: timelyfl sets the epochs of each client, and {_name(algorithm)} does not train by epochs; "
            "take fedavg or fedprox, or another schedule"
        )


def check_layers(algorithm: Algorithm, context: Context) -> None:
    """Raise ScenarioError unless the algorithm's clients can train and send a part of the model."""
    plain = is_mean(algorithm) and not overrides(algorithm, *_OF_WHOLE_MODELS)
    if not plain or not _flops(algorithm, context, Terms(layers=1)) < _flops(algorithm, context, USUAL):
        raise ScenarioError(
            f"schedule.partial: {_name(algorithm)} does not train parts of a plain model; write partial: false, and "
            "clients that cannot train an epoch in time are left out; or take fedavg or fedprox, without a codec"
        )


def is_mean(algorithm: Algorithm) -> bool:
    """Whether the server does no more than to average the clients' updates."""
    return type(algorithm).aggregate in _MEANS


def _flops(algorithm: Algorithm, context: Context, terms: Terms) -> float:
    where = under(context, terms)
    who = Client(0, int(context.task.train.count[0]), algorithm.init_client(where, 0))
    payload = algorithm.download(where, algorithm.init_server(where), who)
    return algorithm.workload(where, payload, who).flops


def _name(algorithm: Algorithm) -> str:
    if isinstance(algorithm, CompressedUpdates):
        return f"{_name(algorithm.inner)} with a codec"
    return type(algorithm).__name__
