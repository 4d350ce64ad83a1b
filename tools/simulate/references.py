"""Reference rows: policies to compare with. They exist in the simulator only; nobody can serve with them.

- ``arrival-order``: nobody is overtaken, not even if his model is ready.
- ``llama-swap``: what that program does, ``fifo`` with ``maxWait: 0``.
- ``drain-first``: a ready model is served until nobody waits for it; whoever has waited 15 s goes before all others.
- ``drain-batch``: the same, but who waited when a model became ready is served before anything stale. With a backlog
  this swaps far less, and 15 s are no bound any more: a batch is as long as its queue.
- ``best`` is no policy, but a search: ``search.py``.
"""

from collections.abc import Iterator, Mapping
from itertools import islice, takewhile
from typing import Any, ClassVar, Self

from protocol.ids import ModelId
from supervisor.scheduler.contracts import (
    Choice,
    MakeWay,
    Models,
    Nothing,
    Policy,
    Queue,
    Serve,
    SettingProblem,
    Waiting,
)
from supervisor.scheduler.events import Event, ModelReady, Snapshot
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.settings import seconds, unknown

STALE = 15.0


def _in_turn(queue: Queue, first: Waiting) -> Choice:
    """Serve the oldest request, and those that follow it without another model between; or make way for it."""
    if first.model in queue.servable():
        run = takewhile(lambda waiting: waiting.model == first.model, _from(first, queue))
        return Serve(first.model, sum(1 for _ in islice(run, queue.free(first.model))))
    return MakeWay(first.model) if first.model in queue.blocked() else Nothing()


def _from(first: Waiting, queue: Queue) -> Iterator[Waiting]:
    return (waiting for waiting in queue.in_arrival_order() if waiting.number >= first.number)


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
        return Nothing() if first is None else _in_turn(queue, first)

    def observe(self, event: Event, now: float) -> None:
        """Nothing to account for."""

    def snapshot(self) -> Snapshot:
        """Nothing to keep."""
        return {}

    def restore(self, snapshot: Snapshot) -> None:
        """Nothing to take over."""


class DrainFirst:
    """What is ready is served until its queue is empty, unless somebody's request is *stale*.

    A request is stale when it has waited ``staleness`` seconds, and its model is ready or blocked: the oldest of these
    goes next, whatever it takes. It knows nothing of who is in whose way: with several models resident, all hold back.
    """

    name: ClassVar[str] = "drain-first"
    parks: ClassVar[bool] = False
    min_resident: float = 0.0

    def __init__(self, staleness: float = STALE) -> None:
        self._staleness = staleness

    @classmethod
    def parse(cls, settings: Mapping[str, Any], models: Models) -> tuple[Self, list[SettingProblem]]:
        """``staleness``: seconds."""
        problems = unknown(settings, ("staleness",))
        return cls(seconds(settings, "staleness", STALE, problems)), problems

    def choose(self, queue: Queue, now: float) -> Choice:
        """The oldest if it is stale; else serve what is ready, else make way for the oldest."""
        servable = queue.servable()
        could = (
            at for at in queue.in_arrival_order() if at.model in servable or queue.phase(at.model) is Phase.STOPPED
        )
        first = next(could, None)
        if first is None:
            return Nothing()
        if first.arrived + self._staleness <= now:
            return _in_turn(queue, first)
        if servable:
            return Serve(servable[0], queue.free(servable[0]))
        blocked = queue.blocked()
        return MakeWay(blocked[0]) if blocked else Nothing(until=first.arrived + self._staleness)

    def observe(self, event: Event, now: float) -> None:
        """Nothing to account for."""

    def snapshot(self) -> Snapshot:
        """Nothing to keep."""
        return {}

    def restore(self, snapshot: Snapshot) -> None:
        """Nothing to take over."""


class DrainBatch:
    """What is ready is served until its queue is empty, unless somebody else's request is *stale*.

    A request is stale when its model is blocked and it has waited ``staleness`` seconds. While there is one, a ready
    model is served no more than those who waited when it became ready; when it is idle it makes way for the oldest
    stale request. It knows nothing of who is in whose way: with several models resident, all of them hold back.
    """

    name: ClassVar[str] = "drain-batch"
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


REFERENCES: dict[str, type[Policy]] = {kind.name: kind for kind in (ArrivalOrder, DrainFirst, DrainBatch)}
PRESETS: dict[str, tuple[str, Mapping[str, Any]]] = {"llama-swap": ("fifo", {"maxWait": 0})}
"""Reference rows that are a policy of the product with other settings."""
