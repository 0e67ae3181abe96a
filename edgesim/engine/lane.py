"""Lane: flows of one access rate that enter one pipe. They always have the same rate, so one clock does for all."""

from heapq import heapify, heappop, heappush

from edgesim.engine.pipe import Pipe


class Lane:
    """Flows side by side, each with the clock at which it ends.

    Attributes:
        rate: of the devices' access, in microbit/s.
        ends: flow → the clock at which it ends; first, the least of these.
        limited: whether the pipe's `granted`, rather than the access rate, is their rate.
        clock: what a flow in here has moved since the lane began, at since_ns, while not limited, in 10⁻¹⁵ bit;
            else it is the pipe's clock plus offset.
        end_ns: when the first of them ends, while not limited.
    """

    __slots__ = ("_heap", "clock", "end_ns", "ends", "first", "limited", "number", "offset", "pipe", "rate",
                 "since_ns")  # fmt: skip

    def __init__(self, number: int, pipe: Pipe, rate: int, now_ns: int) -> None:
        self.number, self.pipe, self.rate, self.since_ns = number, pipe, rate, now_ns
        self.ends: dict[int, int] = {}
        self.first: int | None = None
        self.clock = 0
        self.limited = rate > pipe.granted
        self.offset = -pipe.read(now_ns) if self.limited else 0
        self.end_ns: int | None = None
        self._heap: list[tuple[int, int]] = []

    def read(self, now_ns: int) -> int:
        """The clock at `now_ns`."""
        if self.limited:
            return self.pipe.read(now_ns) + self.offset
        return self.clock + self.rate * (now_ns - self.since_ns)

    def add(self, flow: int, left: int, now_ns: int) -> None:
        """A flow with so much to go."""
        end = self.ends[flow] = self.read(now_ns) + left
        heappush(self._heap, (end, flow))
        self._find_first()

    def remove(self, flow: int) -> None:
        """Take out a flow."""
        del self.ends[flow]
        self._find_first()

    def finished(self, now_ns: int) -> list[int]:
        """Take out the flows that have moved all they had to."""
        clock, found = self.read(now_ns), list[int]()
        while self.first is not None and self.first <= clock:
            found.append(heappop(self._heap)[1])
            self.remove(found[-1])
        return found

    def limit(self, now_ns: int) -> None:
        """From now on the pipe's level is its rate; the pipe's clock shows now."""
        self.offset = self.read(now_ns) - self.pipe.clock
        self.limited, self.end_ns = True, None

    def free(self, now_ns: int) -> None:
        """From now on its access is its rate; the pipe's clock shows now."""
        self.clock, self.since_ns, self.limited = self.pipe.clock + self.offset, now_ns, False

    def plan(self) -> int | None:
        """When the first flow ends while the lane is not limited; None if none ever does."""
        if self.first is None or not self.rate:
            return None
        return self.since_ns - (self.clock - self.first) // self.rate

    def _find_first(self) -> None:
        heap, ends = self._heap, self.ends
        if len(heap) > 2 * len(ends) + 16:
            heap[:] = [(end, flow) for flow, end in ends.items()]
            heapify(heap)
        while heap and ends.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        self.first = heap[0][0] if heap else None
