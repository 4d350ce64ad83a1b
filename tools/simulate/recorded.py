"""From a recording to what can be simulated: who asked for what and when, how long it took, and what a swap costs.

Pure: from steps (``replay.py``) to a ``Demand``. What a recording does not say is estimated, and told in ``notes``:

- a request that was never served takes as long as its model does on average;
- exchanges on parked leases are known by number and duration only: they are spread over the time between two reports,
  and belong to the caller who was granted such a lease last;
- who waits or is served when the recording begins comes at its beginning;
- models that run at its beginning have to be started first.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from protocol.ids import CallId, LeaseId, Refusal
from protocol.recording import RecordingError
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from tools.simulate.measures import Record
from tools.simulate.replay import Step
from tools.simulate.trace import Trace
from tools.simulate.world import Arrival, Cost

MOST_REQUESTS = 2_000_000
REPORTED_WITHIN = 0.25
"""Seconds in which a worker reports an exchange."""
UNKNOWN_SERVICE = 1.0
"""Seconds, when not one exchange was seen."""
_ORDERS = {
    ev.LoadAsked: "loads without a request",
    ev.UnloadAsked: "unloads",
    ev.ResetAsked: "resets",
    ev.RulesChanged: "changes of the configuration",
    ev.ShutdownAsked: "shutdowns",
    ev.WorkerLost: "deaths of workers",
    ev.StopOverdue: "processes that survived SIGKILL",
}
"""What happens to a scheduler and is no demand."""


@dataclass(slots=True)
class Request:
    """One request as it went. Seconds since the beginning of the recording."""

    at: float
    model: str
    caller: str
    worker: str = ""
    deadline: float | None = None
    granted: float | None = None
    ended: float | None = None
    """End of its exchange, or when its client left; None: it was still there when the recording ended."""
    refusal: Refusal | None = None
    parkable: bool = False
    generation: int = 0

    @property
    def left(self) -> float | None:
        """When its client went without having been served."""
        return self.ended if self.granted is None and self.refusal is None else None

    @property
    def service(self) -> float | None:
        """How long its exchange took."""
        return self.ended - self.granted if self.granted is not None and self.ended is not None else None


@dataclass(slots=True)
class _Durations:
    """What was measured of one model, in seconds."""

    starts: list[float] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)
    loads: list[int] = field(default_factory=list)
    """Generations."""
    failed: set[int] = field(default_factory=set)
    """Those that did not become ready."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a simulation needs, and what really came of it. ``record`` is measured like a simulated run."""

    arrivals: Trace
    costs: Mapping[str, Cost]
    record: Record
    seconds: float
    notes: tuple[str, ...]


class Demands:
    """Takes in a recording step by step. ``began``: when it began, on the recorded clock."""

    def __init__(self, began: float, snapshot: Mapping[str, Any], models: Iterable[str]) -> None:
        self._began = began
        self._models = list(models)
        self._now = 0.0
        self._requests: list[Request] = []
        self._open: dict[CallId, Request] = {}
        self._leases: dict[LeaseId, Request] = {}
        self._lease_of: dict[CallId, LeaseId] = {}
        self._unmeasured: dict[str, deque[Request]] = {}
        """By model: granted as parkable, and in no report so far."""
        self._reported: dict[str, float] = {}
        """By model: when the last report came."""
        self._parker: dict[str, Request] = {}
        """By model: who was granted a parkable lease last."""
        self._durations: dict[str, _Durations] = {}
        self._starting: dict[int, float] = {}
        self._stopping: dict[int, float] = {}
        self._orders: Counter[str] = Counter()
        self._crashes = 0
        self._learned = {row["id"]: row["swap"]["mean"] for row in snapshot["models"] if row["swap"]["samples"]}
        self._restore(snapshot)

    def _restore(self, snapshot: Mapping[str, Any]) -> None:
        """Who is there already has come just now."""
        for row in snapshot["leases"]:
            request = self._keep(Request(0.0, row["model"], row.get("caller", ""), row["worker"]))
            self._open[CallId(row["call"])] = request
            self._grant(CallId(row["call"]), LeaseId(row["id"]), row["generation"], parkable=row["parkable"])
        for row in snapshot["waiters"]:
            if row["worker"] is not None:
                left = max(0.0, row["deadline"] - self._began)
                request = Request(0.0, row["model"], row["caller"], row["worker"], left)
                self._open[CallId(row["call"])] = self._keep(request)
        self._running = [row["id"] for row in snapshot["models"] if row["phase"] in ("ready", "draining", "starting")]

    def _keep(self, request: Request) -> Request:
        if len(self._requests) >= MOST_REQUESTS:
            raise RecordingError(f"more than {MOST_REQUESTS:,} requests; record a shorter time")
        self._requests.append(request)
        return request

    def take(self, step: Step) -> None:  # noqa: C901 (one row for each event)
        """One event and what was decided."""
        self._now = now = step.at - self._began
        match step.event:
            case ev.RequestArrived(call, model, worker, caller, deadline):
                left = None if deadline is None else max(0.0, deadline - step.at)
                self._open[call] = self._keep(Request(now, model, caller, worker, left))
            case ev.RequestAbandoned(call):
                self._abandoned(call)
            case ev.LeaseReleased(lease, last_used):
                self._release(lease, last_used - self._began)
            case ev.ExchangesReported():
                self._report(step.event)
            case ev.ModelReady(model, generation):
                if (since := self._starting.pop(generation, None)) is not None:
                    self._of(model).starts.append(now - since)
            case ev.ModelStartFailed(model, generation):
                self._of(model).failed.add(generation)
            case ev.ModelExited(model, generation):
                self._exited(model, generation)
            case ev.WorkerLost(worker):
                self._lose(worker)
            case _:
                pass
        if type(step.event) in _ORDERS:
            self._orders[_ORDERS[type(step.event)]] += 1
        for effect in step.effects:
            self._decided(effect)

    def _decided(self, effect: do.Effect) -> None:
        match effect:
            case do.Grant():
                self._grant(effect.call, effect.lease, effect.generation, parkable=effect.parkable)
            case do.Refuse(call, _, refusal):
                if (request := self._open.pop(call, None)) is not None:
                    request.refusal, request.ended = refusal, self._now
            case do.StartModel(model, generation):
                self._of(model).loads.append(generation)
                self._starting[generation] = self._now
            case do.StopModel(_, generation):
                self._starting.pop(generation, None)
                self._stopping[generation] = self._now
            case _:
                pass

    def _of(self, model: str) -> _Durations:
        return self._durations.setdefault(model, _Durations())

    # Requests

    def _grant(self, call: CallId, lease: LeaseId, generation: int, *, parkable: bool) -> None:
        request = self._open.pop(call, None)
        if request is None:
            return
        request.granted, request.generation, request.parkable = self._now, generation, parkable
        self._leases[lease] = request
        self._lease_of[call] = lease
        if parkable:
            self._parker[request.model] = request
            self._unmeasured.setdefault(request.model, deque()).append(request)

    def _abandoned(self, call: CallId) -> None:
        request = self._open.pop(call, None)
        if request is not None:
            request.ended = self._now
        elif call in self._lease_of:
            self._release(self._lease_of[call], self._now)

    def _release(self, lease: LeaseId, when: float) -> None:
        """A parkable lease outlives its exchanges, whose durations are in reports."""
        request = self._leases.pop(lease, None)
        if request is not None and not request.parkable:
            request.ended = max(request.granted or 0.0, when)

    def _report(self, event: ev.ExchangesReported) -> None:
        """The first exchange on each lease is the request that it was granted to; the others came since."""
        model, waiting = event.model, self._unmeasured.get(event.model, deque())
        since = max(self._reported.get(model, 0.0), self._now - REPORTED_WITHIN)
        self._reported[model] = self._now
        later: list[float] = []
        for seconds in event.service_times:
            if waiting:
                first = waiting.popleft()
                first.ended = (first.granted or 0.0) + max(0.0, seconds)
            else:
                later.append(max(0.0, seconds))
        parker = self._parker.get(model)
        for number, seconds in enumerate(later, 1):
            ended = since + (self._now - since) * number / len(later)
            at = max(0.0, ended - seconds)
            caller, worker = (parker.caller, parker.worker) if parker is not None else ("", "")
            self._keep(Request(at, model, caller, worker, granted=at, ended=at + seconds, generation=event.generation))

    def _lose(self, worker: str) -> None:
        for call, request in list(self._open.items()):
            if request.worker == worker:
                self._abandoned(call)
        for lease, request in list(self._leases.items()):
            if request.worker == worker:
                self._release(lease, self._now)

    def _exited(self, model: str, generation: int) -> None:
        self._starting.pop(generation, None)
        since = self._stopping.pop(generation, None)
        if since is not None:
            self._of(model).stops.append(self._now - since)
        elif generation not in self._of(model).failed:
            self._crashes += 1
        for lease, request in list(self._leases.items()):
            if request.model == model:
                self._release(lease, self._now)

    # What comes of it

    def demand(self) -> Demand:
        """After the last step."""
        return Demand(self._trace(), self._costs(), self._record(), self._now, tuple(self._notes()))

    def _trace(self) -> Trace:
        means = self._means()
        anything = _mean([request.service for request in self._requests if request.service is not None])
        found = Trace()
        for request in self._requests:
            service = request.service
            if service is None:
                service = means.get(request.model, UNKNOWN_SERVICE if anything is None else anything)
            left = request.left
            leaves = None if left is None else left - request.at
            found.add(Arrival(request.at, request.model, service, request.caller, leaves, request.deadline))
        found.sort()
        return found

    def _means(self) -> dict[str, float]:
        """Seconds of service by model."""
        known: dict[str, list[float]] = {}
        for request in self._requests:
            if request.service is not None:
                known.setdefault(request.model, []).append(request.service)
        return {model: sum(services) / len(services) for model, services in known.items()}

    def _costs(self) -> dict[str, Cost]:
        """Measured; else what the supervisor had learned before; else as the others."""
        start = _mean([seconds for each in self._durations.values() for seconds in each.starts]) or 0.0
        stop = _mean([seconds for each in self._durations.values() for seconds in each.stops]) or 0.0
        found = {}
        for model in self._models:
            of = self._durations.get(model, _Durations())
            own_start, own_stop = _mean(of.starts), _mean(of.stops)
            found[model] = Cost(
                self._learned.get(model, start) if own_start is None else own_start,
                stop if own_stop is None else own_stop,
                min(1.0, len(of.failed) / len(of.loads)) if of.loads else 0.0,
            )
        return found

    def _record(self) -> Record:
        """What happened, measured like what is simulated."""
        found = Record()
        for model, of in self._durations.items():
            for generation in of.loads:
                found.started(model, generation)
        for now, what, request in sorted(self._happenings(), key=lambda entry: entry[:2]):
            match what:
                case 0:
                    found.asked(request.model, request.caller, now)
                case 1:
                    found.granted(request.model, request.caller, request.at, now, request.generation)
                case _ if request.granted is not None:
                    found.ended_exchange(request.model, request.caller, request.granted, now)
                case _ if request.refusal is not None:
                    found.refused_one(request.model, request.caller, request.refusal, now)
                case _:
                    found.left(request.model, request.caller, now)
        found.close(self._now)
        return found

    def _happenings(self) -> Iterator[tuple[float, int, Request]]:
        for request in self._requests:
            yield request.at, 0, request
            if request.granted is not None:
                yield request.granted, 1, request
            if request.ended is not None:
                yield max(request.ended, request.granted or 0.0), 2, request

    def _notes(self) -> Iterator[str]:
        names = sorted({request.model for request in self._requests} - set(self._models))
        if names:
            yield f"requests for {', '.join(names)}, which the configuration at the beginning lacks, are refused here"
        if self._running:
            yield f"at the beginning {', '.join(self._running)} ran already; here they have to be started first"
        estimated = sum(request.service is None for request in self._requests)
        if estimated:
            yield f"{estimated} of {len(self._requests)} requests were not served to their end; theirs is estimated"
        if self._crashes:
            self._orders["exits that nobody asked for"] = self._crashes
        if self._orders:
            yield f"not simulated: {', '.join(f'{what} ({count})' for what, count in self._orders.items())}"


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
