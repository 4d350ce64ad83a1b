"""The default policy: arrival order, with collation.

Requests of ready models are served at once, ahead of anything older that would have to evict them; so
A B C A B C is served A A B B C C (``tests/compat/behaviour.md`` §3). Among models that must start, the one
whose oldest request has waited longest is tried first; one that finds no room does not hold up the others.
Keeps no accounts. Called by ``core.py`` through ``contracts.Policy``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from protocol.ids import ModelId
from supervisor.scheduler.contracts import Choice, MakeWay, Nothing, Queue, Serve, SettingProblem
from supervisor.scheduler.events import Event, Snapshot


class Fifo:
    """First in, first out, over what can go on without a swap first."""

    name: ClassVar[str] = "fifo"

    @classmethod
    def parse(cls, settings: Mapping[str, Any], models: Sequence[ModelId]) -> tuple[Self, Sequence[SettingProblem]]:
        """No settings yet; each key is a problem."""
        del models
        return cls(), [SettingProblem(key, "fifo has no such setting") for key in settings]

    def choose(self, queue: Queue, now: float) -> Choice:
        """Serve what is ready, then make way for the oldest that is not."""
        del now
        for model in queue.servable():
            return Serve(model, queue.free(model))
        for model in queue.blocked():
            return MakeWay(model)
        return Nothing()

    def observe(self, event: Event, now: float) -> None:
        """Nothing to account for."""

    def snapshot(self) -> Snapshot:
        """Nothing to keep."""
        return {}

    def restore(self, snapshot: Snapshot) -> None:
        """Nothing to take over."""
