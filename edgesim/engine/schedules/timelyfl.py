"""Rounds in which everybody does as much as fits."""

from dataclasses import dataclass

from edgesim.engine.forecast import Forecast
from edgesim.engine.learning import Terms
from edgesim.engine.schedules.rounds import Rounds
from edgesim.engine.schedules.schedule import Server


@dataclass
class TimelyFl(Rounds):
    """TimelyFL (Zhang et al. 2023, CVPR Workshops, arXiv:2304.06947).

    `concurrency` clients are chosen. The round lasts T_k, the `wait_for`-th smallest of their total times with one
    epoch, each t_com + t_cmp as forecast. A client for which that is long trains
    E = max(⌊(T_k − t_com) / t_cmp⌋, 1) epochs, at most `max_epochs`. One for which it is too short trains, if
    `partial`, one epoch of as many of the last layers as fit, and sends these; if not even the last layer does, it
    is left out. What has not arrived after `slack` · T_k, because forecasts know no absence and no other's traffic, is
    cancelled: there are no stale updates.
    """

    concurrency: int
    wait_for: int
    partial: bool = True
    max_epochs: int | None = None
    slack: float = 1.0

    def open(self, server: Server) -> None:
        clients = server.select(self.concurrency)
        forecasts = server.forecast(clients, [Terms(epochs=1)] * len(clients))
        totals = sorted(forecast.total_ns for forecast in forecasts)
        limit_ns = totals[min(self.wait_for, len(totals)) - 1] if totals else 0
        found = [self._terms(server, *each, limit_ns) for each in zip(clients, forecasts, strict=True)]
        fitting = {client: terms for client, terms in zip(clients, found, strict=True) if terms is not None}
        self.begin(server, server.start([*fitting], [*fitting.values()]), round(self.slack * limit_ns))

    def _terms(self, server: Server, client: int, one: Forecast, limit_ns: int) -> Terms | None:
        """What the client is asked for, given its forecast with one epoch; None: nothing fits."""

        def fits(terms: Terms) -> bool:
            return server.forecast([client], [terms])[0].total_ns <= limit_ns

        if one.total_ns <= limit_ns:
            most = (limit_ns - one.transfer_ns) // one.train_ns if one.train_ns else 1
            terms = (Terms(epochs=epochs) for epochs in range(min(most, self.max_epochs or most), 1, -1))
            return next(filter(fits, terms), Terms(epochs=1))  # t_cmp is rounded: E of them may not quite fit
        layers = range(server.layers - 1, 0, -1) if self.partial else ()
        return next(filter(fits, (Terms(epochs=1, layers=count) for count in layers)), None)
