"""Claims: who trains which piece, first come, first served, among processes any of which may be killed at any time."""

import os
import struct
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import NamedTuple

from edgesim.execution.workers import context

MOST = 4096
"""Claims that there may be at a time: a pipe has room for them on every system."""
_FORM = struct.Struct("<II")


class Claim(NamedTuple):
    """Piece `piece` of the batch of round `round`."""

    round: int
    piece: int


class Claims:
    """Pieces that several processes take from, each piece once. A pipe does that without a lock, which a killed
    process would hold for ever: a read of one claim takes it whole or not at all.

    Attributes: reader, for another process to `take` from.
    """

    def __init__(self) -> None:
        self.reader, self._writer = context.Pipe(duplex=False)
        os.set_blocking(self.reader.fileno(), False)

    def put(self, claims: Sequence[Claim]) -> None:
        """Offer so many, at most MOST, where none is left."""
        os.write(self._writer.fileno(), b"".join(_FORM.pack(*claim) for claim in claims))

    def clear(self) -> None:
        """Take back what nobody has taken."""
        while take(self.reader) is not None:
            pass

    def close(self) -> None:
        self.reader.close()
        self._writer.close()


def take(reader: Connection) -> Claim | None:
    """The next piece; None if none is left."""
    try:
        return Claim(*_FORM.unpack(os.read(reader.fileno(), _FORM.size)))
    except BlockingIOError:
        return None
