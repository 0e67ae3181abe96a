"""What an evaluation adds to the measures of learning: costs so far, and where jobs are."""

from edgesim.engine.job import Spent
from edgesim.engine.ledger import Ledger
from edgesim.engine.server_work import ServerWork


def costs(total: Spent, ledger: Ledger, server: ServerWork) -> dict[str, float | int]:
    """Totals since the start; `total` includes what is in flight."""
    wasted = ledger.wasted
    return {
        "bytes_down": total.bytes_down,
        "bytes_up": total.bytes_up,
        "energy_j": total.energy_j,
        "flops": total.flops,
        "wasted_s": wasted.ns / 1e9,
        "wasted_bytes": wasted.bytes_down + wasted.bytes_up,
        "wasted_j": wasted.energy_j,
        "wasted_flops": wasted.flops,
        "server_s": server.busy_ns / 1e9,
        "server_j": server.energy_j,
        "server_flops": server.flops,
        **{f"jobs_{fate}": count for fate, count in ledger.jobs().items()},
    }
