"""A world in virtual time around the real core: model processes, a worker and callers that keep their promises.

``World(rules, costs)`` carries effects out: a load takes ``Cost.start`` seconds and fails with probability
``Cost.crash``, a stop takes ``Cost.stop``. Callers are fed in as a time-ordered stream of ``Arrival``, and as
*loops*, in which each request follows the end of the one before. ``run`` returns the ``Record`` of how everybody
fared. No clock; chance only from the seed, and the same for every policy: it depends on the model and the number
of its load. Leases are never parked, so every request is a decision of the core.
"""

import heapq
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from protocol.ids import CallId, LeaseId, ModelId, WorkerId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.board import Board
from supervisor.scheduler.core import Core
from supervisor.scheduler.state import Rules
from tools.simulate.measures import Record

WORKER = WorkerId("0.1.w")
FOREVER = float("inf")
CRASHED = "crashed while it loaded"
AT_ONE_INSTANT = 10_000
"""A policy that wants to be asked again at the same instant more often than this never lets time go on."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a swap of one model costs, in seconds. ``crash``: the probability that a load fails at its end."""

    start: float
    stop: float = 0.0
    crash: float = 0.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request. ``at``: when it comes; in a loop, the pause after the end of the one before. All in seconds."""

    at: float
    model: str
    service: float
    """How long its exchange takes."""
    caller: str = ""
    cancel_after: float | None = None
    """The client leaves so long after its arrival, wherever the request is by then."""
    deadline: float | None = None
    """It may wait so long at most."""


class Stuck(Exception):
    """Virtual time does not go on."""


class Watcher(Protocol):
    """Looks at the board after each event (``timeline.py``)."""

    def look(self, board: Board, now: float) -> None:
        """One event has been handled at ``now``."""
        ...


@dataclass(slots=True)
class _Request:
    """One request that has not ended."""

    arrival: Arrival
    call: CallId
    at: float
    then: Iterator[Arrival] | None
    """The rest of its loop."""
    granted: float = 0.0
    lease: LeaseId | None = None


class World:
    """``rules`` is what the core decides by; ``costs`` has an entry for each model."""

    def __init__(
        self, rules: Rules, costs: Mapping[str, Cost], *, seed: int = 0, watcher: Watcher | None = None
    ) -> None:
        self.core = Core(rules, "i")
        self.now = 0.0
        self.record = Record()
        self._costs = costs
        self._seed = seed
        self._watcher = watcher
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._count = 0
        self._wake: float | None = None
        self._waiting: dict[CallId, _Request] = {}
        self._loading: dict[int, int] = {}
        """Generation, and which load of its model it is."""
        self._loads: dict[str, int] = {}
        self._carry: dict[type, Callable[[Any], None]] = {
            do.StartModel: self._start,
            do.StopModel: self._stop,
            do.Grant: self._grant,
            do.Refuse: self._refuse,
            do.WakeAt: self._wake_at,
            do.Note: self._note,
        }

    def run(
        self, arrivals: Iterable[Arrival], loops: Iterable[Iterable[Arrival]] = (), *, until: float = FOREVER
    ) -> Record:
        """Feed everything, and go on until everybody has been served or refused, or until ``until``.

        ``Stuck`` if the policy never lets time go on.
        """
        self._feed(iter(arrivals))
        for loop in loops:
            self._follow(iter(loop))
        heap, here = self._heap, 0
        while heap or (self._wake is not None and self._waiting):
            woken = self._wake is not None and (not heap or self._wake < heap[0][0])
            coming = max(self.now, self._wake) if woken and self._wake is not None else heap[0][0]
            if coming > until:
                self.now = until
                break
            here = here + 1 if woken and coming == self.now else 0
            if here > AT_ONE_INSTANT:
                name = self.core.board.rules.policy.name
                raise Stuck(f"the policy {name!r} wants to be asked again and again at {self.now:g} s")
            self.now = coming
            if woken:
                self._wake = None
                self._send(ev.DeadlineReached())
            else:
                _, _, happen, what = heapq.heappop(heap)
                happen(what)
        self.record.close(self.now)
        return self.record

    def run_closed(self, arrivals: Iterable[Arrival]) -> Record:
        """One caller, who sends each request when the answer before it has come."""
        return self.run((), (arrivals,))

    def _at(self, when: float, happen: Callable[[Any], None], what: Any) -> None:
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, happen, what))

    # Callers.

    def _feed(self, coming: Iterator[Arrival]) -> None:
        arrival = next(coming, None)
        if arrival is not None:
            self._at(arrival.at, self._arrive_from, (arrival, coming))

    def _arrive_from(self, fed: tuple[Arrival, Iterator[Arrival]]) -> None:
        arrival, coming = fed
        self._arrive((arrival, None))
        self._feed(coming)

    def _follow(self, loop: Iterator[Arrival]) -> None:
        arrival = next(loop, None)
        if arrival is not None:
            self._at(self.now + arrival.at, self._arrive, (arrival, loop))

    def _arrive(self, coming: tuple[Arrival, Iterator[Arrival] | None]) -> None:
        arrival, then = coming
        now = self.now
        self._count += 1
        call = CallId(f"c{self._count}")
        request = self._waiting[call] = _Request(arrival, call, now, then)
        if arrival.cancel_after is not None:
            self._at(now + arrival.cancel_after, self._leave, request)
        deadline = None if arrival.deadline is None else now + arrival.deadline
        self.record.asked(arrival.model, arrival.caller, now)
        self._send(ev.RequestArrived(call, ModelId(arrival.model), WORKER, arrival.caller, deadline))

    def _leave(self, request: _Request) -> None:
        """The client is gone, if it was not served before."""
        if request.call in self._waiting:
            del self._waiting[request.call]
            self.record.left(request.arrival.model, request.arrival.caller, self.now)
        elif request.lease is not None:
            self._ended(request)
        else:
            return
        self._send(ev.RequestAbandoned(request.call))
        self._go_on(request)

    def _release(self, request: _Request) -> None:
        lease = request.lease
        if lease is not None:  # its client may have left before
            self._ended(request)
            self._send(ev.LeaseReleased(lease, self.now))
            self._go_on(request)

    def _ended(self, request: _Request) -> None:
        request.lease = None
        self.record.ended_exchange(request.arrival.model, request.arrival.caller, request.granted, self.now)

    def _go_on(self, request: _Request) -> None:
        if request.then is not None:
            self._follow(request.then)

    # The core, and what it wants done.

    def _send(self, event: ev.Event) -> None:
        self.record.events += 1
        carry = self._carry
        for effect in self.core.handle(event, self.now):
            carry[type(effect)](effect)
        if self._watcher is not None:
            self._watcher.look(self.core.board, self.now)

    def _grant(self, grant: do.Grant) -> None:
        request = self._waiting.pop(grant.call)
        request.granted, request.lease = self.now, grant.lease
        arrival = request.arrival
        self.record.granted(
            arrival.model, arrival.caller, request.at, self.now, grant.generation, service=arrival.service
        )
        self._at(self.now + arrival.service, self._release, request)

    def _refuse(self, refusal: do.Refuse) -> None:
        request = self._waiting.pop(refusal.call)
        self.record.refused_one(request.arrival.model, request.arrival.caller, refusal.refusal, self.now)
        self._go_on(request)

    def _wake_at(self, effect: do.WakeAt) -> None:
        self._wake = effect.when

    def _note(self, note: do.Note) -> None:
        if note.level == "error":
            self.record.complain(note.text)

    # Model processes.

    def _start(self, start: do.StartModel) -> None:
        self.record.started(start.model, start.generation)
        number = self._loads[start.model] = self._loads.get(start.model, 0) + 1
        self._loading[start.generation] = number
        self._at(self.now + self._costs[start.model].start, self._loaded, (start.model, start.generation))

    def _loaded(self, which: tuple[ModelId, int]) -> None:
        model, generation = which
        number = self._loading.pop(generation, None)
        if number is None:  # stopped while it loaded
            return
        if self._crashes(model, number):
            self._send(ev.ModelStartFailed(model, generation, CRASHED))
            self._gone((model, generation, CRASHED))
        else:
            self._send(ev.ModelReady(model, generation))

    def _crashes(self, model: ModelId, number: int) -> bool:
        chance = self._costs[model].crash
        # A generator of its own for each load: no policy changes the luck of another load.
        return chance > 0.0 and random.Random(f"{self._seed}/{model}/{number}").random() < chance  # noqa: S311

    def _stop(self, stop: do.StopModel) -> None:
        self._loading.pop(stop.generation, None)
        self._at(self.now + self._costs[stop.model].stop, self._gone, (stop.model, stop.generation, "stopped"))

    def _gone(self, which: tuple[ModelId, int, str]) -> None:
        model, generation, reason = which
        self.record.exited(model, generation)
        self._send(ev.ModelExited(model, generation, reason))
