"""The default policy: arrival order, with collation, priorities, and a claim for who has waited too long.

Requests of ready models are served at once, ahead of anything older that would have to evict them; so
A B C A B C is served A A B B C C (``tests/compat/behaviour.md`` §3). Among models that must start, those of
higher priority are tried first, then those whose oldest request has waited longest; one that finds no room
does not hold up the others. When the oldest request of a model that cannot start has waited ``maxWait``, it
claims room. Keeps no accounts. Called by ``core.py`` through ``contracts.Policy``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from protocol.ids import ModelId
from supervisor.scheduler.contracts import (
    Choice,
    Claim,
    MakeWay,
    Models,
    Nothing,
    Queue,
    Serve,
    SettingProblem,
)
from supervisor.scheduler.events import Event, Snapshot
from supervisor.scheduler.settings import names_of, priorities, seconds, unknown

DEFAULT_MAX_WAIT = 60.0


@dataclass(frozen=True, slots=True)
class Fifo:
    """First in, first out, over what can go on without a swap first. ``max_wait`` 0: never claim. Seconds."""

    max_wait: float = DEFAULT_MAX_WAIT
    min_resident: float = 0.0
    priority: Mapping[ModelId, int] = field(default_factory=dict)
    """Higher first; 0 for models that are missing."""

    name: ClassVar[str] = "fifo"
    parks: ClassVar[bool] = True

    @classmethod
    def parse(cls, settings: Mapping[str, Any], models: Models) -> tuple[Self, list[SettingProblem]]:
        """``maxWait`` and ``minResident`` in seconds; ``priority`` maps model names and aliases to numbers."""
        problems = unknown(settings, ("maxWait", "minResident", "priority"))
        policy = cls(
            max_wait=seconds(settings, "maxWait", DEFAULT_MAX_WAIT, problems),
            min_resident=seconds(settings, "minResident", 0.0, problems),
            priority=priorities(settings, "priority", names_of(models), problems),
        )
        return policy, problems

    def choose(self, queue: Queue, now: float) -> Choice:
        """Serve what is ready, then make way for the first that is not, then claim for who waited too long."""
        for model in queue.servable():
            return Serve(model, queue.free(model))
        blocked = queue.blocked()
        if blocked:
            return MakeWay(max(blocked, key=self._priority) if self.priority else blocked[0])
        oldest = queue.claimable() if self.max_wait else None
        if oldest is None:
            return Nothing()
        ripe = oldest.arrived + self.max_wait
        return Claim(oldest.model) if ripe <= now else Nothing(until=ripe)

    def observe(self, event: Event, now: float) -> None:
        """Nothing to account for."""

    def snapshot(self) -> Snapshot:
        """Nothing to keep."""
        return {}

    def restore(self, snapshot: Snapshot) -> None:
        """Nothing to take over."""

    def _priority(self, model: ModelId) -> int:
        return self.priority.get(model, 0)
