"""The scheduler: events in, effects out. ``Core.handle(event, now) -> list[Effect]``.

Decides everything about who runs and who waits, and nothing else: no I/O, no clock, no task, no random.
Three replaceable questions: *who is next* (a policy), *who must go* (an eviction rule), *what is allowed
now* (``phases.TABLE``). Called by ``supervisor/loop.py``, one event at a time; ``supervisor/perform.py``
carries the effects out. The same events give the same effects.
"""

from collections.abc import Callable
from typing import Any

from protocol.ids import ModelId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler import snapshots
from supervisor.scheduler.board import Board
from supervisor.scheduler.claims import Claims
from supervisor.scheduler.contracts import Claim, MakeWay, Nothing, Serve
from supervisor.scheduler.events import Snapshot
from supervisor.scheduler.life import Life
from supervisor.scheduler.orders import Orders
from supervisor.scheduler.parked import Parked
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.requests import Requests
from supervisor.scheduler.residence import Residence
from supervisor.scheduler.room import Room
from supervisor.scheduler.state import ModelState, Rules
from supervisor.scheduler.steps import Steps
from supervisor.scheduler.timers import Timer, Timers
from supervisor.scheduler.view import View


class PolicyMistake(Exception):
    """A policy answered something that its contract does not allow. Nothing is done, and a note says so."""


class Core:
    """The owner of all scheduling state. ``instance`` goes into the ids of leases."""

    def __init__(self, rules: Rules, instance: str) -> None:
        self._board = Board(rules)
        self._timers = Timers()
        self._steps = Steps(self._board, self._timers, instance)
        self._residence = Residence(self._steps)
        parked = Parked(self._steps, self._residence)
        self._room = Room(self._steps, self._residence, parked)
        self._claims = Claims(self._steps, self._room, self._residence)
        life = Life(self._steps)
        self._orders = Orders(self._steps)
        self._asked: set[ModelId] = set()
        """What the policy has named during the event in hand."""
        self._view = View(self._board, self._asked)
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
            Timer.RESIDENCE: self._residence.over,
            Timer.RECALL: requests.recall_due,
            Timer.ANSWER: parked.answer_due,
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
        try:
            self._settle(now)
        except PolicyMistake as mistake:
            self._steps.note(str(mistake), "error")
            # At the next event, not at once: it would make the same mistake for ever.
            self._asked.clear()
        self._arm(now)
        return out

    def snapshot(self) -> Snapshot:
        """Everything but the rules, as plain values, policy and eviction rule included."""
        state = snapshots.Parts(self._board, self._timers, self._steps, self._room, self._orders)
        return {**snapshots.take(state), "wake": self._wake}

    def restore(self, snapshot: Snapshot) -> None:
        """Go on where ``snapshot`` was taken; this core must be new, with the same rules and instance."""
        state = snapshots.Parts(self._board, self._timers, self._steps, self._room, self._orders)
        snapshots.put(state, snapshot)
        self._wake = snapshot["wake"]

    # What follows from any event: claim and plans go on, the policy is asked, orders go on.

    def _settle(self, now: float) -> None:
        board = self._board
        board.asked_again = None
        while True:
            while board.stirred:
                board.stirred = False
                self._claims.review()
                self._room.review()
            if board.servable or board.blocked:
                self._ask_policy(now)
            if len(self._orders):
                self._orders.review()
            if not board.stirred:
                return

    def _ask_policy(self, now: float) -> None:
        policy = self._board.rules.policy
        while True:
            match policy.choose(self._view, now):
                case Serve(name, count):
                    self._serve(self._named(name, once=True), count)
                case MakeWay(name):
                    self._make_way(self._named(name, once=True))
                case Claim(name):
                    self._claim(self._named(name, once=False))
                case Nothing(until):
                    self._board.asked_again = until
                    return
                case choice:
                    raise PolicyMistake(f"the policy {policy.name!r} answered {choice!r}, which is no choice")

    def _named(self, name: ModelId, *, once: bool) -> ModelState:
        """The model that the policy means; ``once``: it may be named so once during an event."""
        if name not in self._board.models:
            raise PolicyMistake(f"the policy named {name!r}, which does not exist")
        if once and name in self._asked:
            raise PolicyMistake(f"the policy named {name!r} twice during one event")
        if once:
            self._asked.add(name)
        return self._board.models[name]

    def _serve(self, model: ModelState, count: int) -> None:
        if model.phase is not Phase.READY:
            raise PolicyMistake(f"the policy serves {model.id!r}, which is {model.phase}")
        self._steps.serve(model, count)

    def _make_way(self, model: ModelState) -> None:
        if model.id not in self._board.blocked:
            raise PolicyMistake(f"the policy makes way for {model.id!r}, which is {model.phase}, or unwanted")
        self._room.make_way(model)

    def _claim(self, model: ModelState) -> None:
        if self._board.claim is not None:
            raise PolicyMistake(
                f"the policy claims {model.id!r} while the claim of {self._board.claim.target!r} stands"
            )
        if model.id not in self._board.blocked:
            raise PolicyMistake(f"the policy claims {model.id!r}, which is {model.phase}, or unwanted")
        self._claims.make(model)

    def _arm(self, now: float) -> None:
        """Name the next point in time; at once, if the policy was not offered something for the second time."""
        wake = self._timers.earliest()
        again = self._board.asked_again
        if again is not None and (wake is None or again < wake):
            wake = max(now, again)
        if self._asked and not self._asked.isdisjoint(self._board.unjudged | self._board.servable):
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
