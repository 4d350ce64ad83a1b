"""Requests and their leases: arrival, admission, abandonment, release, and the limits on waiting.

Takes in what workers and the control socket say about requests; never touches a process. Called by ``core.py``.
"""

from protocol.ids import CallId, ModelId, Refusal
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.explain import estimate
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.state import NEVER, ModelState, Waiter
from supervisor.scheduler.steps import Steps
from supervisor.scheduler.timers import Timer

RECALL_WITHIN = 0.5
"""Seconds in which a worker gives back what is idle."""


class Requests:
    """Handlers of request events, on the board that ``steps`` changes."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._board = steps.board
        self._timers = steps.timers

    def arrived(self, event: ev.RequestArrived) -> None:
        """Queue a request, or refuse it at the door."""
        model = self._board.models.get(event.model)
        refusal = self._admission(model)
        beyond = refusal is not None and refusal[0] is Refusal.OVERLOADED and self._recall_for(model)
        if refusal is not None and not beyond:
            kind, text, retry_after = refusal
            self._steps.out.append(do.Refuse(event.call, event.worker, kind, text, retry_after))
            return
        waiter = self._waiter(event.call, event.model, event)
        waiter.beyond = beyond
        self._steps.enqueue(waiter)

    def abandoned(self, event: ev.RequestAbandoned) -> None:
        """The caller has gone, before or after the grant."""
        waiter = self._board.waiters.get(event.call)
        if waiter is not None:
            self._steps.withdraw(waiter)
            return
        lease = self._board.lease_of.get(event.call)
        if lease is not None:
            self._steps.end_lease(self._board.leases[lease], self._steps.now)

    def released(self, event: ev.LeaseReleased) -> None:
        """An exchange has ended; unknown leases have ended already."""
        lease = self._board.leases.get(event.lease)
        if lease is not None:
            self._steps.end_lease(lease, event.last_used)

    def reported(self, event: ev.ExchangesReported) -> None:
        """Exchanges of parked leases count as use, and teach how long one takes."""
        model = self._board.models.get(event.model)
        if model is not None and model.generation == event.generation:
            model.last_used = max(model.last_used, event.last_used)
            model.service.learn_all(event.service_times)
            self._steps.watch_ttl(model)

    def worker_lost(self, event: ev.WorkerLost) -> None:
        """Nothing of a dead worker remains."""
        for call in list(self._board.calls_by_worker.get(event.worker, ())):
            self._steps.withdraw(self._board.waiters[call])
        for lease in list(self._board.leases_by_worker.get(event.worker, ())):
            self._steps.end_lease(self._board.leases[lease], self._steps.now)

    def load_asked(self, event: ev.LoadAsked) -> None:
        """A request that wants no lease."""
        model = self._board.models.get(event.model)
        refusal = self._admission(model)
        if model is not None and model.phase is Phase.READY and not self._board.closing:
            self._steps.answer(event.call)
        elif refusal is not None and refusal[0] is not Refusal.OVERLOADED:
            self._steps.answer(event.call, refusal[0], refusal[1])
        else:
            self._steps.enqueue(self._waiter(event.call, event.model, None))

    def deadline_due(self, model: ModelState) -> None:
        """Refuse who has waited too long for this model."""
        now = self._steps.now
        for waiter in [waiter for waiter in model.waiting.values() if waiter.deadline <= now]:
            waited = now - waiter.arrived
            self._steps.refuse(waiter, Refusal.TIMED_OUT, f"waited {waited:.0f} s for model {model.id!r}", None)
        model.deadline_timer = min((waiter.deadline for waiter in model.waiting.values()), default=NEVER)
        if model.deadline_timer != NEVER:
            self._timers.set(model.deadline_timer, Timer.QUEUE_DEADLINE, model.id)

    def recall_due(self, model: ModelState) -> None:
        """The workers had time to give back what was idle: whoever is still beyond the limits is refused."""
        for waiter in [waiter for waiter in model.waiting.values() if waiter.beyond]:
            if waiter.arrived + RECALL_WITHIN <= self._steps.now:
                kind, text, retry_after = self._overloaded(model)
                self._steps.refuse(waiter, kind, text, retry_after)

    def _recall_for(self, model: ModelState | None) -> bool:
        """May one more wait beyond the limits, until a parked lease has come back?"""
        if model is None or model.phase is not Phase.READY:
            return False
        already = sum(1 for waiter in model.waiting.values() if waiter.beyond)
        if already >= model.parking.spare:
            return False
        self._timers.set(self._steps.now + RECALL_WITHIN, Timer.RECALL, model.id)
        return True

    def _overloaded(self, model: ModelState) -> tuple[Refusal, str, float]:
        return Refusal.OVERLOADED, "Too many requests", max(1.0, estimate(self._board, model, None, self._steps.now))

    def _admission(self, model: ModelState | None) -> tuple[Refusal, str, float | None] | None:
        """Why a newcomer may not wait for this model; None: he may."""
        if self._board.closing:
            return Refusal.SHUTTING_DOWN, "swapyard is shutting down", None
        if model is None or model.retired:
            return Refusal.UNKNOWN_MODEL, "there is no such model", None
        if model.phase is Phase.STUCK:
            return Refusal.STUCK, self._steps.pid_text(model.id), None
        if model.phase is Phase.BACKING_OFF:
            return self._steps.backing_off(model)
        if len(model.leases) + len(model.waiting) >= model.rule.limit + model.rule.queue_limit:
            return self._overloaded(model)
        return None

    def _waiter(self, call: CallId, model: ModelId, request: ev.RequestArrived | None) -> Waiter:
        now = self._steps.now
        rule = self._board.rules.models.get(model)
        latest = now + rule.queue_timeout if rule else NEVER
        self._board.arrivals += 1
        return Waiter(
            call=call,
            model=model,
            worker=request.worker if request else None,
            caller=request.caller if request else "",
            arrived=now,
            number=self._board.arrivals,
            deadline=min(latest, request.deadline) if request and request.deadline is not None else latest,
            wants_progress=request.wants_progress if request else False,
        )
