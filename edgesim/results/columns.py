"""The columns of every table that a run leaves, and how plain Python values become them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from edgesim.engine.reasons import OFF_LINE, REASONS
from edgesim.errors import RunError

Column = Sequence[Any] | NDArray[Any]

PHASES = ("download", "train", "upload")
OUTCOMES = (
    "done", "interrupted", "lost", "out-of-memory", "stale", "in-flight", "cancelled", "failed", "corrupt",
)  # fmt: skip

WORDS: Mapping[str, Sequence[str]] = {"phase": PHASES, "outcome": OUTCOMES, "reason": REASONS}
"""What columns of words hold, of every run."""

CAUSES = ("arrival", "loss", "timer", "server", "client")
"""What an aggregation was made upon: an update arrived; a job was given up, so that nothing was left to wait for; a
timer of the schedule rang; the server was done with what it had to compute; a client came on line."""

_NAME = pa.dictionary(pa.int32(), pa.string())
_OPTIONAL = ("reason",)  # columns of words that may be null

EVENTS = pa.schema(
    [
        ("job", pa.int64()),
        ("client", pa.int32()),
        ("device_class", _NAME),
        ("phase", _NAME),
        ("start_ns", pa.int64()),
        ("end_ns", pa.int64()),
        ("version", pa.int32()),  # of the server model, at dispatch
        ("bytes", pa.int64()),
        ("flops", pa.float64()),
        ("energy_j", pa.float64()),
        ("outcome", _NAME),
        ("reason", _NAME),  # of that; null where the stretch was done or the run ended meanwhile
        ("staleness", pa.int32()),  # null but on the upload row of an update that arrived
        ("batch_size", pa.int32()),  # null but where it had to be smaller than asked for, to fit into memory
    ]
)
"""One row for each uninterrupted stretch of a phase of a job."""

AGGREGATIONS = pa.schema(
    [
        ("version", pa.int64()),  # that it makes: 1, 2, …
        ("time_ns", pa.int64()),
        ("done_ns", pa.int64()),  # when the server has computed it
        ("updates", pa.int64()),
        ("cause", _NAME),
        ("job", pa.int64()),  # that arrived or was lost; null for other causes
    ]
)
"""One row for each aggregation."""

METRICS = pa.schema(
    [
        ("time_s", pa.float64()),
        ("version", pa.int64()),
        ("updates", pa.int64()),  # client updates aggregated so far
        ("accuracy", pa.float64()),  # mean over clients: own model, own test part
        ("accuracy_std", pa.float64()),
        ("accuracy_worst10", pa.float64()),
        ("accuracy_pooled", pa.float64()),  # over all test samples
        ("loss", pa.float64()),
        ("bytes_down", pa.int64()),
        ("bytes_up", pa.int64()),
        ("energy_j", pa.float64()),  # what devices drew during jobs
        ("flops", pa.float64()),
        ("wasted_s", pa.float64()),
        ("wasted_bytes", pa.int64()),
        ("wasted_j", pa.float64()),
        ("wasted_flops", pa.float64()),
        ("server_s", pa.float64()),  # the server's own computing, which is in no figure above
        ("server_j", pa.float64()),
        ("server_flops", pa.float64()),
        ("backhaul_s", pa.float64()),  # between edges and cloud, which is in no figure above either
        ("backhaul_bytes_down", pa.int64()),
        ("backhaul_bytes_up", pa.int64()),
        ("backhaul_j", pa.float64()),
        ("jobs_dispatched", pa.int64()),
        ("jobs_aggregated", pa.int64()),
        ("jobs_lost", pa.int64()),
        ("jobs_discarded", pa.int64()),
        ("jobs_in_flight", pa.int64()),
        ("density", pa.float64()),
        ("gradient_norm", pa.float64()),  # of the objective that all share; NaN but for quadratic problems
        ("battery_level", pa.float64()),  # mean charge as a share of the capacity; NaN without batteries
        ("batteries_empty", pa.float64()),  # devices that theirs keeps from work; NaN without batteries
        ("carbon_g", pa.float64()),  # CO2 equivalent of energy_j; NaN unless costs.carbon is given
        ("accuracy_unseen", pa.float64()),  # mean over clients that never train; NaN where all do
        ("accuracy_unseen_trained", pa.float64()),  # after one job of their own; NaN there and among peers
    ]
)
"""One row for each evaluation; costs are totals since the start."""

OF_SOME_TASKS = (
    "gradient_norm", "battery_level", "batteries_empty", "carbon_g", "accuracy_unseen", "accuracy_unseen_trained",
)  # fmt: skip
"""Columns of METRICS that most runs have no figure for: NaN there."""

CLIENTS = pa.schema(
    [
        ("client", pa.int32()),
        ("device_class", _NAME),
        ("accuracy", pa.float64()),
        ("samples", pa.int64()),
        ("jobs_dispatched", pa.int64()),
        ("jobs_aggregated", pa.int64()),
        ("jobs_lost", pa.int64()),
        ("download_s", pa.float64()),  # the six times add up to the wall-clock time
        ("train_s", pa.float64()),
        ("upload_s", pa.float64()),
        ("idle_s", pa.float64()),
        ("no_charge_s", pa.float64()),  # on line, but kept from work by its battery
        ("off_s", pa.float64()),
        ("bytes_down", pa.int64()),
        ("bytes_up", pa.int64()),
        ("flops", pa.float64()),
        ("energy_j", pa.float64()),
        ("idle_j", pa.float64()),
        ("battery_j", pa.float64()),  # what its battery holds; NaN without one
        ("carbon_g", pa.float64()),  # CO2 equivalent of energy_j; NaN unless costs.carbon is given
        ("memory_bytes", pa.int64()),  # the largest peak of a job that it was given
    ]
)
"""One row for each client, at the end, but for those that never train."""

UNSEEN = pa.schema(
    [
        ("client", pa.int32()),
        ("device_class", _NAME),
        ("accuracy", pa.float64()),
        ("samples", pa.int64()),
    ]
)
"""One row for each client that never trains and is only tested, at the end (only where there are some)."""

AVAILABILITY = pa.schema(
    [
        ("client", pa.int32()),
        ("start_ns", pa.int64()),
        ("end_ns", pa.int64()),
        ("reason", _NAME),  # off-line, or no-charge while it was on line
    ]
)
"""One row for each stretch in which a client could not work (small fleets only)."""

ADDED: Mapping[str, Mapping[str, tuple[Any, Any]]] = {
    "events": {"reason": (None, _NAME)},
    "metrics": {name: (np.nan, pa.float64()) for name in ("accuracy_unseen", "accuracy_unseen_trained")},
    "clients": {"no_charge_s": (0.0, pa.float64()), "memory_bytes": (0, pa.int64())},
    "availability": {"reason": (OFF_LINE, _NAME)},
}
"""Columns that runs of earlier versions lack, by table: what stands for them where such a run is read, and its type."""


def table(columns: Mapping[str, Column], schema: Any, names: Mapping[str, Sequence[str]], what: str) -> Any:
    """The Arrow table of `columns`, typed by `schema`.

    `names` holds, for each dictionary column, the words it may hold; a value is such a word or its index, None: null.
    `what` says whose columns these are, for the errors: a column missing, unknown, of another length, or
    with a value that its type cannot hold exactly, is a RunError.
    """
    missing = [name for name in schema.names if name not in columns]
    unknown = [name for name in columns if name not in schema.names]
    if missing or unknown:
        raise RunError(f"{what}: columns missing: {missing}, unknown: {unknown}; the columns are {schema.names}")
    if len({len(column) for column in columns.values()}) > 1:
        raise RunError(f"{what}: columns of different lengths: { {k: len(v) for k, v in columns.items()} }")
    arrays = [_array(columns[field.name], field, names, what) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: Column, field: Any, names: Mapping[str, Sequence[str]], what: str) -> Any:
    try:
        if field.name not in names:
            # asked for the type at once, pyarrow would cut 1.5 down to an integer 1 without a word
            return pa.array(values).cast(field.type)
        words = names[field.name]
        if isinstance(values, pa.NullArray) and field.name in _OPTIONAL:
            # the same words as elsewhere, so that bytes do not depend on which rows were written together
            return pa.DictionaryArray.from_arrays(values.cast(pa.int32()), pa.array(words, type=pa.string()))
        if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
            return _by_index(values, words)
        code: dict[Any, int | None] = {word: index for index, word in enumerate(words)}
        code |= dict(enumerate(range(len(words)))) | ({None: None} if field.name in _OPTIONAL else {})
        codes = pa.array([code[value] for value in values], type=pa.int32())
        return pa.DictionaryArray.from_arrays(codes, pa.array(words, type=pa.string()))
    except KeyError as error:
        raise RunError(
            f"{what}: {field.name}: got {error.args[0]!r}; it is one of {list(words)} or an index into it"
        ) from None
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise RunError(f"{what}: {field.name}: not all values are {field.type}: {error}") from error


def _by_index(codes: NDArray[np.integer[Any]], words: Sequence[str]) -> Any:
    """Words by their indices."""
    wrong = codes[(codes < 0) | (codes >= len(words))]
    if len(wrong):
        raise KeyError(int(wrong[0]))
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(words, type=pa.string()))
