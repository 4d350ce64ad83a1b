"""The scheduler: events in, effects out. ``Core.handle(event, now) -> list[Effect]``.

Decides everything about who runs and who waits, and nothing else: no I/O, no clock, no task, no random.
Three replaceable questions: *who is next* (a policy), *who must go* (an eviction rule), *what is allowed
now* (``phases.TABLE``). Called by ``supervisor/loop.py``, one event at a time; ``supervisor/perform.py``
carries the effects out. The same events give the same effects.
"""

from collections.abc import Callable, Sequence
from typing import Any

from protocol.ids import ModelId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.contracts import MakeWay, Nothing, Serve, Waiting
from supervisor.scheduler.life import Life
from supervisor.scheduler.orders import Orders
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.requests import Requests
from supervisor.scheduler.room import Room
from supervisor.scheduler.state import Board, ModelState, Rules, Waiter
from supervisor.scheduler.steps import Steps
from supervisor.scheduler.timers import Timer, Timers


class PolicyMistake(Exception):
    """A policy answered something that its contract does not allow. Nothing was done."""


class Core:
    """The owner of all scheduling state. ``instance`` goes into the ids of leases."""

    def __init__(self, rules: Rules, instance: str) -> None:
        self._board = Board(rules)
        self._timers = Timers()
        self._steps = Steps(self._board, self._timers, instance)
        self._room = Room(self._steps)
        life = Life(self._steps)
        self._orders = Orders(self._steps, life)
        self._asked: set[ModelId] = set()
        self._wake: float | None = None
        requests = Requests(self._steps)
        self._handlers: dict[type, Callable[[Any], None]] = {
            ev.RequestArrived: requests.arrived,
            ev.RequestAbandoned: requests.abandoned,
            ev.LeaseReleased: requests.released,
            ev.ExchangesReported: requests.reported,
            ev.WorkerLost: requests.worker_lost,
            ev.LoadAsked: requests.load_asked,
            ev.ModelReady: life.ready,
            ev.ModelStartFailed: life.start_failed,
            ev.ModelExited: life.exited,
            ev.StopOverdue: life.overdue,
            ev.ResetAsked: life.reset_asked,
            ev.UnloadAsked: self._orders.unload_asked,
            ev.RulesChanged: self._orders.rules_changed,
            ev.ShutdownAsked: self._orders.shutdown_asked,
            ev.DeadlineReached: self._deadline_reached,
        }
        self._due: dict[Timer, Callable[[ModelState], None]] = {
            Timer.TTL: life.ttl_due,
            Timer.QUEUE_DEADLINE: requests.deadline_due,
            Timer.PAUSE: life.pause_due,
        }

    @property
    def board(self) -> Board:
        """Read-only for everybody else: status, tests, invariants."""
        return self._board

    def handle(self, event: ev.Event, now: float) -> list[do.Effect]:
        """Take in one event at ``now`` (seconds, never going back) and say what follows.

        Raises ``IllegalTransition`` for an event that the phase table forbids; the event then has no effect.
        """
        out = self._steps.begin(now)
        self._asked.clear()
        self._handlers[type(event)](event)
        self._board.rules.policy.observe(event, now)
        self._settle(now)
        self._arm(now)
        return out

    # What follows from any event: plans go on, the policy is asked, orders go on.

    def _settle(self, now: float) -> None:
        if self._board.stirred:
            self._room.review()
        if self._board.servable or self._board.blocked:
            self._ask_policy(now)
        if len(self._orders):
            self._orders.review()
        if self._board.stirred:
            self._room.review()

    def _ask_policy(self, now: float) -> None:
        view = _View(self._board, self._asked)
        policy = self._board.rules.policy
        while True:
            match policy.choose(view, now):
                case Serve(model, count):
                    self._name_once(model)
                    self._serve(self._board.models[model], count)
                case MakeWay(model) if not self._board.closing:
                    self._name_once(model)
                    self._make_way(self._board.models[model])
                case Nothing(until):
                    if until is not None and until > now:
                        self._timers.set(until, Timer.POLICY)
                    return
                case choice:
                    raise PolicyMistake(f"policy {policy.name!r} answered {choice}, which is not to be had now")

    def _name_once(self, model: ModelId) -> None:
        if model in self._asked:
            raise PolicyMistake(f"the policy named {model!r} twice during one event")
        self._asked.add(model)

    def _serve(self, model: ModelState, count: int) -> None:
        if model.phase is not Phase.READY:
            raise PolicyMistake(f"the policy serves {model.id!r}, which is {model.phase}")
        for waiter in list(model.waiting.values())[: min(count, model.free)]:
            self._steps.grant(waiter)

    def _make_way(self, model: ModelState) -> None:
        if model.phase is not Phase.STOPPED:
            raise PolicyMistake(f"the policy makes way for {model.id!r}, which is {model.phase}")
        self._room.make_way(model)

    def _arm(self, now: float) -> None:
        wake = self._timers.earliest()
        if self._board.unjudged & self._asked:
            wake = now
        if wake != self._wake:
            self._wake = wake
            self._steps.out.append(do.WakeAt(wake))

    def _deadline_reached(self, event: ev.DeadlineReached) -> None:
        del event
        self._wake = None
        while (due := self._timers.pop_due(self._steps.now)) is not None:
            timer, name = due
            model = self._board.models.get(name) if name is not None else None
            if model is not None:
                self._due[timer](model)


class _View:
    """What the policy may see of the board during one event (``contracts.Queue``)."""

    def __init__(self, board: Board, asked: set[ModelId]) -> None:
        self._board = board
        self._asked = asked

    def servable(self) -> Sequence[ModelId]:
        return self._board.by_age(self._board.servable - self._asked)

    def blocked(self) -> Sequence[ModelId]:
        if self._board.closing:
            return ()
        return self._board.by_age(self._board.unjudged - self._asked)

    def waiting(self, model: ModelId) -> Sequence[Waiting]:
        return [_seen(waiter) for waiter in self._board.models[model].waiting.values()]

    def oldest(self) -> Waiting | None:
        waiter = min(self._board.waiters.values(), key=lambda waiter: waiter.number, default=None)
        return _seen(waiter) if waiter else None

    def phase(self, model: ModelId) -> Phase:
        return self._board.models[model].phase

    def free(self, model: ModelId) -> int:
        return self._board.models[model].free


def _seen(waiter: Waiter) -> Waiting:
    return Waiting(waiter.call, waiter.model, waiter.caller, waiter.arrived, waiter.number)
