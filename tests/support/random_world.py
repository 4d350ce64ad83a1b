"""Random events for the core, with a simulated world around it that keeps what the effects promise.

Ordinary traffic: processes that start and stop; workers that hold, park and give back leases; callers that
leave; timers. What happens rarely is in ``random_trouble.py``. The invariants are checked after each event; at
the end of a run everything outstanding completes, in some order, and nobody may still wait (design.md,
*Invariants*).
"""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocol.ids import CallId, LeaseId, ModelId, WorkerId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.contracts import Eviction, Policy
from supervisor.scheduler.core import Core
from supervisor.scheduler.explain import Blocker, Kind, blockers, estimates
from supervisor.scheduler.invariants import check
from supervisor.scheduler.state import ModelRule, Rules
from tests.support.outstanding import FOR_EVER, Outstanding, Process
from tests.support.random_parts import CALLERS, NAMES, PROMPT, VARIANTS, Variant

MODELS = st.sampled_from(NAMES)
WORKERS = [WorkerId("0.1.x"), WorkerId("1.2.x")]


class World(RuleBasedStateMachine):
    """Sends what a real shell could send, in any order, and keeps its promises."""

    make_policy: Callable[[Variant], Policy]
    make_eviction: Callable[[Variant], Eviction]
    seen: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.calls = 0
        self.steps = -1
        self.under_way = Outstanding(self.seen)
        self.configure(0, 0, 2, 0.0)

    @initialize(
        policy=st.integers(0, 5),
        eviction=st.integers(0, VARIANTS - 1),
        limit=st.integers(1, 3),
        ttl=st.sampled_from([0.0, 5.0]),
    )
    def configure(self, policy: int, eviction: int, limit: int, ttl: float) -> None:
        self.settings = (policy, eviction, limit, ttl)
        self.core = Core(self.make_rules(), "i")
        self.twin = Core(self.make_rules(), "i")

    def make_rules(self, models: list[ModelId] = NAMES) -> Rules:
        policy, variant, limit, ttl = self.settings
        kind = type(self)
        eviction = kind.make_eviction(variant)
        patience = FOR_EVER if policy % 2 else 100.0
        rules = {
            name: ModelRule(limit, 6, patience, ttl, pinned=name in getattr(eviction, "_pinned", ())) for name in models
        }
        return Rules(rules, kind.make_policy(policy), eviction, parking=True)

    def send(self, event: ev.Event, twin_event: ev.Event | None = None) -> None:
        self.seen[type(event).__name__] += 1
        self.under_way.expect(event, self.now, list(self.core.board.models))
        effects = self.core.handle(event, self.now)
        check(self.core.board, effects)
        again = self.twin.handle(twin_event or event, self.now)
        assert again == effects, f"{event} gave {again} after a restore, not {effects}; {self.difference()}"
        self.handled(event, effects)
        for effect in effects:
            self.under_way.carry_out(effect, self.core.board, self.now)
        if isinstance(self.core.board.rules.policy, PROMPT) and self.under_way.wake != self.now:
            assert not self.core.board.servable, "ready, with a free slot, and lets requests wait"
        self.everybody_knows_why()

    def handled(self, event: ev.Event, effects: list[do.Effect]) -> None:
        """For worlds that watch."""

    def difference(self) -> dict[str, tuple[Any, Any]]:
        one, other = self.core.snapshot(), self.twin.snapshot()
        return {name: (one[name], other[name]) for name in one if one[name] != other[name]}

    def everybody_knows_why(self) -> None:
        board = self.core.board
        for model in board.models.values():
            if model.waiting:
                found = blockers(board, model, self.now)
                assert found, f"who waits for {model.id} cannot name what for"
                for blocker in found:
                    assert self.is_true(blocker), f"who waits for {model.id} waits for {blocker}, which is not there"
                assert all(0.0 <= seconds < 1e6 for seconds in estimates(board, model, self.now))

    def is_true(self, blocker: Blocker) -> bool:
        """Is there such a thing under way?"""
        board = self.core.board
        match blocker.kind:
            case Kind.LEASE:
                return any(grant.model == blocker.model for grant in self.under_way.leases.values())
            case Kind.START:
                return any(name == blocker.model for name, _ in self.under_way.starting)
            case Kind.STOP:
                return any(name == blocker.model for name, _ in self.under_way.alive)
            case Kind.PLAN:
                return blocker.model in board.plans
            case Kind.CLAIM:
                return board.claim is not None and board.claim.target == blocker.model
            case Kind.TIMER:
                return blocker.until is not None and (blocker.until >= self.now or self.is_due())
            case Kind.DECISION:
                return not isinstance(board.rules.policy, PROMPT) or self.is_due()

    def is_due(self) -> bool:
        """Is a point in time over, and the core waits to be told so? Other events may come first."""
        return self.under_way.wake is not None and self.under_way.wake <= self.now

    # Callers and workers

    def new_call(self) -> CallId:
        self.calls += 1
        return CallId(f"c{self.calls}")

    @rule(model=MODELS, worker=st.sampled_from(WORKERS), patience=st.sampled_from([None, None, 3.0]))
    def request(self, model: ModelId, worker: WorkerId, patience: float | None) -> None:
        call = self.new_call()
        self.under_way.open.add(call)
        deadline = None if patience is None else self.now + patience
        self.send(ev.RequestArrived(call, model, worker, CALLERS[self.calls % len(CALLERS)], deadline))

    @rule(model=MODELS, many=st.integers(2, 3))
    def requests(self, model: ModelId, many: int) -> None:
        for number in range(many):
            self.request(model, WORKERS[number % 2], None)

    @rule(data=st.data())
    @precondition(lambda self: self.under_way.open)
    def abandon(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(sorted(self.under_way.open)))
        self.under_way.open.remove(call)
        self.send(ev.RequestAbandoned(call))

    @rule(data=st.data())
    @precondition(lambda self: self.under_way.leases)
    def finish(self, data: st.DataObject) -> None:
        """An exchange ends: its lease is parked, or given back."""
        lease = data.draw(st.sampled_from(sorted(self.under_way.leases)))
        grant = self.under_way.leases[lease]
        kept = lease in self.under_way.not_reusable or lease in self.under_way.parked
        if grant.parkable and not kept:
            self.seen["park"] += 1
            self.under_way.parked[lease] = self.now
            self.send(ev.ExchangesReported(grant.model, grant.generation, 1, (0.5,), self.now))
        else:
            self.release(lease)

    @rule(data=st.data())
    @precondition(lambda self: self.under_way.parked)
    def reuse(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(sorted(self.under_way.parked)))
        if lease not in self.under_way.not_reusable:
            del self.under_way.parked[lease]
            self.seen["reuse"] += 1

    @rule(model=MODELS, worker=st.sampled_from(WORKERS))
    def use_again_and_again(self, model: ModelId, worker: WorkerId) -> None:
        """One caller after the other, on a lease that its worker keeps if it may."""
        before = set(self.under_way.leases)
        self.request(model, worker, 3.0)
        for lease in sorted(set(self.under_way.leases) - before):
            grant = self.under_way.leases[lease]
            if grant.parkable and lease not in self.under_way.not_reusable:
                self.seen["reuse"] += 1
                self.send(ev.ExchangesReported(grant.model, grant.generation, 3, (0.5, 1.0, 0.1), self.now))

    def release(self, lease: LeaseId) -> None:
        del self.under_way.leases[lease]
        self.send(ev.LeaseReleased(lease, self.under_way.parked.pop(lease, self.now)))

    # Processes

    @rule(data=st.data())
    @precondition(lambda self: self.under_way.starting - self.under_way.stopping)
    def become_ready(self, data: st.DataObject) -> None:
        going = sorted(self.under_way.starting - self.under_way.stopping)
        self.end_start(data.draw(st.sampled_from(going)))

    def end_start(self, process: Process) -> None:
        self.under_way.starting.remove(process)
        self.under_way.ready.add(process)
        self.send(ev.ModelReady(*process))

    @rule(data=st.data())
    @precondition(lambda self: self.under_way.stopping)
    def stop(self, data: st.DataObject) -> None:
        self.end_process(data.draw(st.sampled_from(sorted(self.under_way.stopping))))

    def end_process(self, process: Process) -> None:
        self.under_way.end_process(process)
        self.send(ev.ModelExited(*process, "exited"))

    @rule(seconds=st.sampled_from([0.0, 0.5, 2.0, 2.0, 6.0, 6.0, 15.0, 70.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for lease in self.under_way.due_back(self.now):
            if lease in self.under_way.leases:
                self.release(lease)
        self.wake_up()

    def wake_up(self) -> None:
        if self.under_way.wake is not None and self.under_way.wake <= self.now:
            self.under_way.wake = None
            self.send(ev.DeadlineReached())

    @invariant()
    def timers_stay_bounded(self) -> None:
        self.steps += 1
        assert len(self.core._timers) <= 5 * len(NAMES) + self.calls
        assert len(self.core.board._by_age) <= 4 * len(NAMES) + 1

    # The end of a run

    def teardown(self) -> None:
        """Closure: nothing arrives, everything outstanding completes in some order, and every request ends."""
        self.seen["steps"] += max(0, self.steps)
        order = random.Random(self.calls)
        for _ in range(600):
            self.everybody_knows_why()
            if not (
                self.under_way.open or self.under_way.questions or self.under_way.leases or self.under_way.stopping
            ):
                break
            self.complete_one(order)
        assert not self.under_way.open, f"waits for ever: {self.under_way.open}"
        assert not self.under_way.questions, f"never answered: {self.under_way.questions}"

    def complete_one(self, order: random.Random) -> None:
        steps: list[Callable[[], None]] = [
            *(lambda lease=lease: self.release(lease) for lease in sorted(self.under_way.leases)),
            *(lambda process=process: self.end_process(process) for process in sorted(self.under_way.stopping)),
            *(
                lambda process=process: self.end_start(process)
                for process in sorted(self.under_way.starting - self.under_way.stopping)
            ),
        ]
        wake = self.under_way.wake
        if wake is not None and (wake < self.now + 100.0 or not steps):
            steps.append(self.sleep)
        assert steps, (
            f"{self.under_way.open} {self.under_way.questions} wait, and nothing is under way: {self.phases()}"
        )
        order.choice(steps)()

    def sleep(self) -> None:
        """Nothing else happens before the core wants to look again."""
        self.now = max(self.now, self.under_way.wake or 0.0)
        self.wake_up()

    def phases(self) -> dict[ModelId, str]:
        return {model.id: str(model.phase) for model in self.core.board.models.values()}
