"""Points in time at which the core wants to look again: one heap, bounded by what can be due.

Entries are not removed when they stop mattering; whoever set one checks at its time whether it still holds.
Callers keep at most one entry per model and kind, or one per start and pause, so the heap stays small.
"""

import heapq
from enum import StrEnum
from typing import Any

from protocol.ids import ModelId


class Timer(StrEnum):
    """What may be due."""

    TTL = "ttl"
    QUEUE_DEADLINE = "queue_deadline"
    PAUSE = "pause"
    ORDER = "order"
    RESIDENCE = "residence"
    RECALL = "recall"
    ANSWER = "answer"


class Timers:
    """A heap of (time, kind, model). Seconds of the core's clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer, ModelId | None]] = []
        self._count = 0

    def set(self, when: float, timer: Timer, model: ModelId | None = None) -> None:
        """Remember to look at ``timer`` of ``model``."""
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, timer, model))

    def pop_due(self, now: float) -> tuple[Timer, ModelId | None] | None:
        """The earliest entry that is due, or None."""
        if not self._heap or self._heap[0][0] > now:
            return None
        _, _, timer, model = heapq.heappop(self._heap)
        return timer, model

    def earliest(self) -> float | None:
        """When the next entry is due."""
        return self._heap[0][0] if self._heap else None

    def snapshot(self) -> list[list[Any]]:
        """All entries as plain values."""
        return [[when, count, str(timer), model] for when, count, timer, model in sorted(self._heap)]

    def restore(self, snapshot: list[list[Any]]) -> None:
        """Take over what ``snapshot`` returned."""
        self._heap = [(when, count, Timer(timer), model) for when, count, timer, model in snapshot]
        self._count = max((count for _, count, _, _ in self._heap), default=0)

    def __len__(self) -> int:
        return len(self._heap)
