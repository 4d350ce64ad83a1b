"""A world in virtual time around the real core: model processes, workers and callers that keep their promises.

``World(rules, costs)`` carries effects out: a start takes ``Cost.start`` seconds, a stop ``Cost.stop``. Callers
are fed in as a time-ordered stream of ``Arrival``; ``run`` returns how each request fared. No clock, no random.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from protocol.ids import CallId, LeaseId, ModelId, WorkerId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.core import Core
from supervisor.scheduler.state import Rules

WORKER = WorkerId("0.1.w")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a swap of one model costs, in seconds."""

    start: float
    stop: float = 0.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: when, for which model, and how long its exchange takes, in seconds."""

    at: float
    model: str
    service: float
    caller: str = ""


@dataclass(slots=True)
class Record:
    """What became of all requests. Times in seconds."""

    waits: list[tuple[str, float, float]] = field(default_factory=list)
    """Model, arrival, wait; in the order of the grants."""
    served: list[tuple[str, float, float]] = field(default_factory=list)
    """Caller, time of the grant, service; in the same order."""
    refused: int = 0
    starts: int = 0
    serving: float = 0.0
    """Seconds in which at least one lease was out."""
    ended: float = 0.0
    events: int = 0

    def of(self, model: str | None = None, since: float = 0.0, until: float = float("inf")) -> list[float]:
        """Waits of requests that arrived in this span, sorted."""
        found = (wait for name, at, wait in self.waits if model in (None, name) and since <= at < until)
        return sorted(found)


class World:
    """``rules`` is what the core decides by; ``costs`` has an entry for each model."""

    def __init__(self, rules: Rules, costs: dict[str, Cost]) -> None:
        self.core = Core(rules, "i")
        self.now = 0.0
        self.record = Record()
        self._costs = costs
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._open: dict[CallId, Arrival] = {}
        self._wake: float | None = None
        self._leases: dict[LeaseId, tuple[ModelId, int]] = {}
        self._serving_since = 0.0
        self._then: Callable[[], None] = _nothing
        """What a release brings about: the next request of a caller who waits for his answer."""

    def run_closed(self, arrivals: Iterable[Arrival]) -> Record:
        """Feed each arrival at the moment at which the answer before it has come; ``at`` does not count."""
        coming = iter(arrivals)

        def following() -> None:
            arrival = next(coming, None)
            if arrival is not None:
                self._arrive(Arrival(self.now, arrival.model, arrival.service, arrival.caller), iter(()))

        self._then = following
        self._at(0.0, following)
        return self.run(())

    def run(self, arrivals: Iterable[Arrival]) -> Record:
        """Feed all arrivals, and go on until everybody has been served or refused."""
        coming = iter(arrivals)
        self._feed(coming)
        while self._heap or (self._wake is not None and self._open):
            if self._wake is not None and (not self._heap or self._wake < self._heap[0][0]):
                self.now, self._wake = max(self.now, self._wake), None
                self._send(ev.DeadlineReached())
                continue
            self.now, _, happen = heapq.heappop(self._heap)
            happen()
        self.record.ended = self.now
        return self.record

    def _at(self, when: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (when, next(self._count), happen))

    def _feed(self, coming: Iterator[Arrival]) -> None:
        arrival = next(coming, None)
        if arrival is not None:
            self._at(arrival.at, lambda: self._arrive(arrival, coming))

    def _arrive(self, arrival: Arrival, coming: Iterator[Arrival]) -> None:
        call = CallId(f"c{next(self._count)}")
        self._open[call] = arrival
        self._send(ev.RequestArrived(call, ModelId(arrival.model), WORKER, arrival.caller))
        self._feed(coming)

    def _send(self, event: ev.Event) -> None:
        self.record.events += 1
        for effect in self.core.handle(event, self.now):
            self._carry_out(effect)

    def _carry_out(self, effect: do.Effect) -> None:
        match effect:
            case do.StartModel(model, generation):
                self.record.starts += 1
                self._at(self.now + self._costs[model].start, lambda: self._send(ev.ModelReady(model, generation)))
            case do.StopModel(model, generation):
                ended = ev.ModelExited(model, generation, "stopped")
                self._at(self.now + self._costs[model].stop, lambda: self._send(ended))
            case do.Grant():
                self._serve(effect)
            case do.Refuse(call):
                del self._open[call]
                self.record.refused += 1
            case do.WakeAt(when):
                self._wake = when
            case _:
                pass

    def _serve(self, grant: do.Grant) -> None:
        arrival = self._open.pop(grant.call)
        self.record.waits.append((arrival.model, arrival.at, self.now - arrival.at))
        self.record.served.append((arrival.caller, self.now, arrival.service))
        if not self._leases:
            self._serving_since = self.now
        self._leases[grant.lease] = (grant.model, grant.generation)
        self._at(self.now + arrival.service, lambda: self._release(grant.lease))

    def _release(self, lease: LeaseId) -> None:
        del self._leases[lease]
        if not self._leases:
            self.record.serving += self.now - self._serving_since
        self._send(ev.LeaseReleased(lease, self.now))
        self._then()


def _nothing() -> None:
    pass
