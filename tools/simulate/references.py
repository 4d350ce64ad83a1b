"""Reference rows: policies to compare with. They exist in the simulator only; nobody can serve with them.

- ``arrival-order``: nobody is overtaken, not even if his model is ready.
- ``llama-swap``: what that program does, ``fifo`` with ``maxWait: 0``.
- ``drain-first``: the model that is ready is served until nobody waits for it. A staleness bound (15 s) ends that.
- ``best`` is no policy, but a search: ``search.py``.
"""

from collections.abc import Mapping
from itertools import islice, takewhile
from typing import Any, ClassVar, Self

from protocol.ids import ModelId
from supervisor.scheduler.contracts import Choice, MakeWay, Models, Nothing, Policy, Queue, Serve, SettingProblem
from supervisor.scheduler.events import Event, ModelReady, Snapshot
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.settings import seconds, unknown

STALE = 15.0


class ArrivalOrder:
    """Strictly one after the other; those that ask for the same model in a row share it up to its limit."""

    name: ClassVar[str] = "arrival-order"
    parks: ClassVar[bool] = False
    min_resident: float = 0.0

    @classmethod
    def parse(cls, settings: Mapping[str, Any], models: Models) -> tuple[Self, list[SettingProblem]]:
        """It has no settings."""
        return cls(), [SettingProblem(key, "arrival-order has no settings") for key in settings]

    def choose(self, queue: Queue, now: float) -> Choice:
        """The oldest request, whatever it takes; then nothing, until it has been granted."""
        first = next(queue.in_arrival_order(), None)
        if first is None:
            return Nothing()
        if queue.phase(first.model) is Phase.READY:
            free = queue.free(first.model)
            run = takewhile(lambda waiting: waiting.model == first.model, islice(queue.in_arrival_order(), free))
            count = sum(1 for _ in run)
            return Serve(first.model, count) if count and first.model in queue.servable() else Nothing()
        return MakeWay(first.model) if first.model in queue.blocked() else Nothing()

    def observe(self, event: Event, now: float) -> None:
        """Nothing to account for."""

    def snapshot(self) -> Snapshot:
        """Nothing to keep."""
        return {}

    def restore(self, snapshot: Snapshot) -> None:
        """Nothing to take over."""


class DrainFirst:
    """What is ready is served until its queue is empty, unless somebody else's request is *stale*.

    A request is stale when its model is blocked and it has waited ``staleness`` seconds. While there is one, a ready
    model is served no more than those who waited when it became ready; when it is idle it makes way for the oldest
    stale request. It knows nothing of who is in whose way: with several models resident, all of them hold back.
    """

    name: ClassVar[str] = "drain-first"
    parks: ClassVar[bool] = False
    min_resident: float = 0.0

    def __init__(self, staleness: float = STALE) -> None:
        self._staleness = staleness
        self._fresh: set[ModelId] = set()
        """Became ready, and has not been looked at since."""
        self._owed: dict[ModelId, int] = {}
        """How many of those who waited when it became ready are still to be served."""

    @classmethod
    def parse(cls, settings: Mapping[str, Any], models: Models) -> tuple[Self, list[SettingProblem]]:
        """``staleness``: seconds."""
        problems = unknown(settings, ("staleness",))
        return cls(seconds(settings, "staleness", STALE, problems)), problems

    def choose(self, queue: Queue, now: float) -> Choice:
        """Serve what may still be served, then make way: for the stale, else for the oldest."""
        for model in self._fresh:
            self._owed[model] = len(queue.waiting(model))
        self._fresh.clear()
        oldest = queue.claimable()
        stale = oldest is not None and oldest.arrived + self._staleness <= now
        for model in queue.servable():
            count = min(queue.free(model), self._owed.get(model, 0)) if stale else queue.free(model)
            if count > 0:
                self._owed[model] = max(0, self._owed.get(model, 0) - count)
                return Serve(model, count)
        blocked = queue.blocked()
        if oldest is None:
            return Nothing()
        if stale:
            return MakeWay(oldest.model) if oldest.model in blocked else Nothing()
        return MakeWay(blocked[0]) if blocked else Nothing(until=oldest.arrived + self._staleness)

    def observe(self, event: Event, now: float) -> None:
        """Remember who became ready."""
        if isinstance(event, ModelReady):
            self._fresh.add(event.model)

    def snapshot(self) -> Snapshot:
        """Who is owed how many."""
        return {"fresh": sorted(self._fresh), "owed": dict(self._owed)}

    def restore(self, snapshot: Snapshot) -> None:
        """Take them over."""
        self._fresh = {ModelId(model) for model in snapshot["fresh"]}
        self._owed = {ModelId(model): int(count) for model, count in snapshot["owed"].items()}


REFERENCES: dict[str, type[Policy]] = {ArrivalOrder.name: ArrivalOrder, DrainFirst.name: DrainFirst}
PRESETS: dict[str, tuple[str, Mapping[str, Any]]] = {"llama-swap": ("fifo", {"maxWait": 0})}
"""Reference rows that are a policy of the product with other settings."""
