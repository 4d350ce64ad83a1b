"""What each model did, and how long its queue was: collected during a run, drawn by ``plot.py``.

Only changes are kept, ``MOST_CHANGES`` of all models together; after that nothing more is, and ``cut`` says when.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from supervisor.scheduler.board import Board
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.state import ModelState

MOST_CHANGES = 100_000
_T = TypeVar("_T")
KINDS = ("starting", "ready", "serving", "draining", "stopping")
_KIND = {
    Phase.STARTING: "starting",
    Phase.DRAINING: "draining",
    Phase.STOPPING: "stopping",
    Phase.STUCK: "stopping",
}


@dataclass(slots=True)
class Lane:
    """One model. ``kinds``: since when it does what (None: it does not run); ``queue``: since when how many wait."""

    kinds: list[tuple[float, str | None]] = field(default_factory=list)
    queue: list[tuple[float, int]] = field(default_factory=list)

    def spans(self, ended: float) -> Iterator[tuple[str, float, float]]:
        """What it did, from when, how long."""
        following = [*self.kinds[1:], (ended, None)]
        for (since, kind), (until, _) in zip(self.kinds, following, strict=True):
            if kind is not None and until > since:
                yield kind, since, until - since


class Timeline:
    """Looks at the board after each event (``world.Watcher``)."""

    def __init__(self) -> None:
        self.lanes: dict[str, Lane] = {}
        self.cut: float | None = None
        self._left = MOST_CHANGES

    def look(self, board: Board, now: float) -> None:
        """Write down what is different."""
        if self.cut is not None:
            return
        for name, model in board.models.items():
            lane = self.lanes.setdefault(name, Lane())
            self._note(lane.kinds, now, _kind(model), None)
            self._note(lane.queue, now, len(model.waiting), 0)
        if self._left <= 0:
            self.cut = now

    def _note(self, changes: list[tuple[float, _T]], now: float, value: _T, at_first: _T) -> None:
        if value == (changes[-1][1] if changes else at_first):
            return
        self._left -= 1
        if changes and changes[-1][0] == now:
            changes.pop()
        changes.append((now, value))


def _kind(model: ModelState) -> str | None:
    if model.phase is Phase.READY:
        return "serving" if model.leases else "ready"
    return _KIND.get(model.phase)
