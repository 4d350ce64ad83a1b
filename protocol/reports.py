"""Outcomes on their way to the supervisor, in batches: within ``WITHIN`` seconds, at most ``MOST_ROWS`` at once.

What the supervisor has not read is bounded: beyond ``MOST_UNREAD`` batches, rows are dropped and the next
batch says how many. They are statistics; no lease depends on them. Owned by ``worker_link.py``; the supervisor reads
the rows of a batch with ``outcomes``.
"""

from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import trio
from msgspec.structs import replace

from protocol import messages as wire
from protocol.codec import decode
from protocol.ids import ModelId

WITHIN = 0.25
MOST_ROWS = 250
"""What the supervisor reads in one go: on a core that it shares with a saturated worker, tasks beside the lane are then
late by 1.8 ms at the 99th percentile; with 500 by 2.0."""
MOST_UNREAD = 64
MOST_TEXT = 500
"""Characters of a row's path and error, which clients and model servers choose."""
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(tuple[wire.Outcome, ...])


def batch(rows: Sequence[wire.Outcome], lost: int = 0) -> wire.Report:
    """The message that tells of these, ``lost`` of others."""
    used: dict[tuple[ModelId, int], list[wire.Outcome]] = {}
    for row in rows:
        if row.parkable and row.model is not None:
            used.setdefault((row.model, row.generation), []).append(row)
    exchanges = [
        wire.Exchanges(
            model=model,
            generation=generation,
            service=tuple([row.total - row.queued - row.loading for row in found]),
            last_used=max([row.ended for row in found]),
        )
        for (model, generation), found in used.items()
    ]
    return wire.Report(exchanges=tuple(exchanges), rows=_ENCODER.encode(rows), count=len(rows), lost=lost)


def outcomes(report: wire.Report) -> tuple[wire.Outcome, ...]:
    """The rows of a batch; ``PeerError`` if they are malformed."""
    return decode(_DECODER, report.rows)


class Reports:
    """``send`` puts a message on the wire and returns its number."""

    def __init__(self, send: Callable[[wire.FromWorker], int]) -> None:
        self._send = send
        self._rows: list[wire.Outcome] = []
        self._lost = 0
        self._unread: deque[int] = deque()
        self._due = trio.Event()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: wire.Outcome) -> None:
        """Queue one outcome."""
        if len(row.path) > MOST_TEXT or len(row.error) > MOST_TEXT:
            row = replace(row, path=row.path[:MOST_TEXT], error=row.error[:MOST_TEXT])
        self._rows.append(row)
        if len(self._rows) == 1:
            self._due.set()
        elif len(self._rows) >= MOST_ROWS:
            self.flush()

    def acknowledged(self, number: int) -> None:
        """The supervisor has read our messages up to this one."""
        while self._unread and self._unread[0] <= number:
            self._unread.popleft()

    def flush(self) -> None:
        """Send what there is."""
        rows, self._rows = self._rows, []
        if len(self._unread) >= MOST_UNREAD:
            self._lost += len(rows)
        elif rows:
            self._unread.append(self._send(batch(rows, self._lost)))
            self._lost = 0

    async def run(self) -> None:
        """Send each batch in time, for ever."""
        while True:
            await self._due.wait()
            self._due = trio.Event()
            await trio.sleep(WITHIN)
            self.flush()
