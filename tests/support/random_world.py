"""Random events for the core, with a simulated world around it that keeps what the effects promise.

Processes that start, stop, fail, hang on or die; workers that hold, park, give back and lose leases; callers
that leave; timers; reloads. ``world_for(policy, eviction)`` makes the hypothesis state machine of one
combination. The invariants are checked after each event; at the end of a run everything outstanding
completes, and nobody may still wait (design.md, *Invariants*).
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from config.sets import compile_sets
from protocol.ids import CallId, LeaseId, ModelId, WorkerId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.contracts import Eviction, Policy
from supervisor.scheduler.core import Core
from supervisor.scheduler.evictions.group import Group, Groups
from supervisor.scheduler.evictions.matrix import Matrix
from supervisor.scheduler.evictions.memory import Memory
from supervisor.scheduler.explain import blockers, estimate
from supervisor.scheduler.invariants import check
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import ModelRule, Rules
from tests.support.examples import example

NAMES = [ModelId(name) for name in "abcde"]
MODELS = st.sampled_from(NAMES)
WORKERS = [WorkerId("0.1.x"), WorkerId("1.2.x")]

FOR_EVER = 1e9
"""A time limit that must never be what ends a request."""

Variant = int
"""Picks one of several settings of a policy or rule."""

POLICIES: dict[str, Callable[[Variant], Policy]] = {
    "fifo": lambda variant: Fifo(
        max_wait=[4.0, 0.5, 12.0][variant % 3],
        min_resident=[0.0, 0.0, 3.0][variant % 3],
        priority={NAMES[variant % 5]: 2, NAMES[1]: -1},
    ),
    "fifo-without-claims": lambda variant: Fifo(max_wait=0.0, min_resident=[0.0, 2.0][variant % 2]),
    "strict": lambda _: example("strict").Strict(),
}

_GROUPS: tuple[dict[str, Group], ...] = (
    {},
    {"a": Group(swap=True), "b": Group(swap=False)},
    {"a": Group(exclusive=False), "b": Group(persistent=True), "c": Group(swap=False, exclusive=False)},
)
_SETS = (
    {"one": "a & b | c & d"},
    {"one": "(a | b) & (c | d)", "two": "+one & e"},
    {"one": "a & b & c", "two": "(a | c) & (b | c | d)", "three": "a & (b | e)"},
)
_COSTS: tuple[dict[ModelId, int], ...] = ({}, {NAMES[0]: 3, NAMES[3]: 2}, {NAMES[2]: 5})
_NEEDS = (
    {"a": {"x": 2}, "b": {"x": 2}, "c": {"x": 3, "y": 1}, "d": {"y": 2}, "e": {}},
    {"a": {"x": 1, "y": 1}, "b": {"x": 2, "y": 1}, "c": {"x": 4}, "d": {"x": 1, "y": 3}, "e": {"y": 2}},
)


def _groups(variant: Variant) -> Eviction:
    chosen = _GROUPS[variant % 3]
    return Groups({ModelId(name): group for name, group in chosen.items()})


def _matrix(variant: Variant) -> Eviction:
    program, problems = compile_sets(_SETS[variant % 3], {}, NAMES)
    assert not problems
    return Matrix(program, _COSTS[variant // 3 % 3])


def _memory(variant: Variant) -> Eviction:
    needs = {ModelId(name): need for name, need in _NEEDS[variant % 2].items()}
    return Memory({"x": 4, "y": 3}, needs, _COSTS[variant // 2 % 3])


EVICTIONS: dict[str, Callable[[Variant], Eviction]] = {
    "group": _groups,
    "matrix": _matrix,
    "memory": _memory,
    "lru": lambda variant: example("lru").LeastRecentlyUsed(1 + variant % 3),
}


class World(RuleBasedStateMachine):
    """Sends what a real shell could send, in any order, and keeps its promises."""

    make_policy: Callable[[Variant], Policy]
    make_eviction: Callable[[Variant], Eviction]
    seen: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.calls = 0
        self.open: set[CallId] = set()
        self.questions: set[CallId] = set()
        self.leases: dict[LeaseId, do.Grant] = {}
        self.parked: dict[LeaseId, float] = {}
        """Kept by a worker since this time; among ``leases`` as well."""
        self.not_reusable: set[LeaseId] = set()
        self.starting: set[tuple[ModelId, int]] = set()
        self.alive: set[tuple[ModelId, int]] = set()
        self.ready: set[tuple[ModelId, int]] = set()
        self.stopping: set[tuple[ModelId, int]] = set()
        self.overdue: set[tuple[ModelId, int]] = set()
        self.gone_at: dict[tuple[ModelId, int], set[tuple[ModelId, int]]] = {}
        self.wake: float | None = None
        self.settings: tuple[int, int, int, float] = (0, 0, 2, 0.0)
        self.core = Core(self.make_rules(), "i")
        self.twin = Core(self.make_rules(), "i")

    def make_rules(self, models: list[ModelId] = NAMES) -> Rules:
        policy, eviction, limit, ttl = self.settings
        patience = FOR_EVER if policy % 2 else 50.0
        rules = {name: ModelRule(limit=limit, queue_limit=4, queue_timeout=patience, ttl=ttl) for name in models}
        kind = type(self)
        return Rules(rules, kind.make_policy(policy), kind.make_eviction(eviction), parking=True)

    @rule(
        policy=st.integers(0, 5),
        eviction=st.integers(0, 8),
        limit=st.integers(1, 3),
        ttl=st.sampled_from([0.0, 5.0]),
    )
    @precondition(lambda self: self.calls == 0 and not self.core.board.running)
    def configure(self, policy: int, eviction: int, limit: int, ttl: float) -> None:
        self.settings = (policy, eviction, limit, ttl)
        self.core = Core(self.make_rules(), "i")
        self.twin = Core(self.make_rules(), "i")
        self.wake = None

    # Effects

    def send(self, event: ev.Event, twin_event: ev.Event | None = None) -> None:
        self.seen[type(event).__name__] += 1
        effects = self.core.handle(event, self.now)
        check(self.core.board, effects)
        again = self.twin.handle(twin_event or event, self.now)
        assert again == effects, f"{event} gave {again} after a restore, not {effects}; {self.difference()}"
        for effect in effects:
            self.carry_out(effect)
        if isinstance(self.core.board.rules.policy, Fifo) and self.wake != self.now:
            assert not self.core.board.servable, "ready, with a free slot, and lets requests wait"
        if self.calls % 5 == 0:
            self.everybody_knows_why()

    def difference(self) -> dict[str, tuple[Any, Any]]:
        one, other = self.core.snapshot(), self.twin.snapshot()
        return {name: (one[name], other[name]) for name in one if one[name] != other[name]}

    def carry_out(self, effect: do.Effect) -> None:
        self.seen[type(effect).__name__] += 1
        match effect:
            case do.StartModel(model, generation):
                assert not any(name == model for name, _ in self.alive), "started beside its own former process"
                self.starting.add((model, generation))
                self.alive.add((model, generation))
            case do.StopModel(model, generation):
                assert (model, generation) in self.alive
                self.stopping.add((model, generation))
            case do.Grant():
                assert (effect.model, effect.generation) in self.ready, "granted on a model that is not ready"
                assert (effect.model, effect.generation) not in self.stopping
                self.end_call(effect.call)
                self.leases[effect.lease] = effect
            case do.Refuse():
                assert self.now < FOR_EVER, "nothing but its time limit ended this request"
                self.end_call(effect.call)
            case do.Answer():
                self.questions.remove(effect.call)
            case do.WakeAt(when):
                self.wake = when
            case do.Recall():
                self.give_back(effect)
            case do.Note(level="error") if "policy" in effect.text:
                raise AssertionError(effect.text)
            case do.Note():
                for kind in ("claims room", "drains for it", "plan given up", "parked leases"):
                    self.seen[kind] += kind in effect.text
            case _:
                pass

    def give_back(self, recall: do.Recall) -> None:
        """What a worker does: idle leases at once, then busy ones are marked."""
        mine = [
            lease
            for lease, grant in self.leases.items()
            if (grant.worker, grant.model, grant.generation) == (recall.worker, recall.model, recall.generation)
            and grant.parkable
            and lease not in self.not_reusable
        ]
        mine.sort(key=lambda lease: lease not in self.parked)
        self.not_reusable |= set(mine[: recall.count])

    def end_call(self, call: CallId) -> None:
        assert call in self.open, "a request ended twice"
        self.open.remove(call)

    def everybody_knows_why(self) -> None:
        board = self.core.board
        for waiter in board.waiters.values():
            assert blockers(board, waiter, self.now), f"{waiter} cannot name what it waits for"
            assert 0.0 <= estimate(board, board.models[waiter.model], waiter, self.now) < 1e6

    # Callers and workers

    def new_call(self) -> CallId:
        self.calls += 1
        return CallId(f"c{self.calls}")

    @rule(model=MODELS)
    def request_twice(self, model: ModelId) -> None:
        self.request(model, WORKERS[0], None)
        self.request(model, WORKERS[1], None)

    @rule(model=MODELS, worker=st.sampled_from(WORKERS), patience=st.sampled_from([None, 3.0]))
    def request(self, model: ModelId, worker: WorkerId, patience: float | None) -> None:
        call = self.new_call()
        self.open.add(call)
        deadline = None if patience is None else self.now + patience
        self.send(ev.RequestArrived(call, model, worker, deadline=deadline))

    @rule(data=st.data())
    @precondition(lambda self: self.open)
    def abandon(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(sorted(self.open)))
        self.open.remove(call)
        self.send(ev.RequestAbandoned(call))

    @rule(data=st.data())
    @precondition(lambda self: self.leases)
    def abandon_after_grant(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(sorted(self.leases)))
        self.parked.pop(lease, None)
        self.send(ev.RequestAbandoned(self.leases.pop(lease).call))

    @rule(data=st.data())
    @precondition(lambda self: self.leases)
    def finish(self, data: st.DataObject) -> None:
        """An exchange ends: its lease is parked, or given back."""
        lease = data.draw(st.sampled_from(sorted(self.leases)))
        grant = self.leases[lease]
        if grant.parkable and lease not in self.not_reusable and lease not in self.parked:
            self.seen["park"] += 1
            self.parked[lease] = self.now
            self.send(ev.ExchangesReported(grant.model, grant.generation, 1, (0.5,), self.now))
        else:
            self.release(lease)

    @rule(data=st.data())
    @precondition(lambda self: self.parked)
    def reuse(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(sorted(self.parked)))
        if lease not in self.not_reusable:
            del self.parked[lease]
            self.seen["reuse"] += 1

    @rule(model=MODELS, worker=st.sampled_from(WORKERS))
    def use_again_and_again(self, model: ModelId, worker: WorkerId) -> None:
        """One caller after the other, on a lease that its worker keeps if it may."""
        before = set(self.leases)
        self.request(model, worker, 3.0)
        for lease in sorted(set(self.leases) - before):
            if self.leases[lease].parkable and lease not in self.not_reusable:
                grant = self.leases[lease]
                self.seen["reuse"] += 1
                self.send(ev.ExchangesReported(grant.model, grant.generation, 3, (0.5, 1.0, 0.1), self.now))

    def release(self, lease: LeaseId) -> None:
        del self.leases[lease]
        self.send(ev.LeaseReleased(lease, self.parked.pop(lease, self.now)))

    # Processes

    @rule()
    @precondition(lambda self: self.starting or self.stopping)
    def go_on(self) -> None:
        """Starts and stops succeed, most of the time."""
        self.complete_processes()

    @rule(data=st.data())
    @precondition(lambda self: self.starting - self.stopping)
    def become_ready(self, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from(sorted(self.starting)))
        self.starting.remove(process)
        self.ready.add(process)
        self.send(ev.ModelReady(*process))

    @rule(data=st.data())
    @precondition(lambda self: self.starting)
    def fail_to_start(self, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from(sorted(self.starting)))
        self.starting.remove(process)
        self.stopping.add(process)
        self.send(ev.ModelStartFailed(*process, "no"))

    @rule(data=st.data(), natural=st.booleans())
    @precondition(lambda self: self.alive)
    def exit(self, data: st.DataObject, natural: bool) -> None:
        choice = sorted(self.alive if natural else (self.stopping or self.alive))
        self.end_process(data.draw(st.sampled_from(choice)))

    def end_process(self, process: tuple[ModelId, int]) -> None:
        for processes in (self.starting, self.alive, self.ready, self.stopping, self.overdue):
            processes.discard(process)
        gone = {lease for lease, grant in self.leases.items() if (grant.model, grant.generation) == process}
        self.forget(gone)
        self.send(ev.ModelExited(*process, "exited"))

    def forget(self, leases: set[LeaseId]) -> None:
        self.leases = {lease: grant for lease, grant in self.leases.items() if lease not in leases}
        self.parked = {lease: since for lease, since in self.parked.items() if lease not in leases}

    @rule(data=st.data())
    @precondition(lambda self: self.stopping - self.starting - self.overdue)
    def be_overdue(self, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from(sorted(self.stopping - self.starting - self.overdue)))
        self.overdue.add(process)
        self.send(ev.StopOverdue(*process, 4711))

    # Trouble

    @rule(data=st.data())
    def trouble(self, data: st.DataObject) -> None:
        """What happens rarely, kept rare so that ordinary traffic gets somewhere."""
        happenings = [self.lose_worker, self.load, self.unload, self.reset, self.report, self.reload, self.save]
        data.draw(st.sampled_from(happenings))(data)

    def lose_worker(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(WORKERS))
        self.open -= {call for call, waiter in self.core.board.waiters.items() if waiter.worker == worker}
        self.forget({lease for lease, grant in self.leases.items() if grant.worker == worker})
        self.send(ev.WorkerLost(worker))

    def question(self) -> CallId:
        call = self.new_call()
        self.questions.add(call)
        return call

    def load(self, data: st.DataObject) -> None:
        self.send(ev.LoadAsked(self.question(), data.draw(MODELS)))

    def unload(self, data: st.DataObject) -> None:
        models = data.draw(st.none() | st.lists(MODELS, max_size=2, unique=True).map(tuple))
        self.send(ev.UnloadAsked(self.question(), models, data.draw(st.booleans())))

    def reset(self, data: st.DataObject) -> None:
        self.send(ev.ResetAsked(self.question(), data.draw(MODELS)))

    def report(self, data: st.DataObject) -> None:
        model = data.draw(MODELS)
        known = self.core.board.models.get(model)
        self.send(ev.ExchangesReported(model, known.generation if known else 0, 1, (0.1,), self.now))

    def reload(self, data: st.DataObject) -> None:
        gone = data.draw(st.sets(MODELS, max_size=1))
        changed = frozenset(data.draw(st.sets(MODELS, max_size=2)) - gone)
        self.settings = (data.draw(st.integers(0, 5)), data.draw(st.integers(0, 8)), data.draw(st.integers(1, 3)), 5.0)
        kept = [name for name in NAMES if name not in gone]
        self.send(
            ev.RulesChanged(self.make_rules(kept), changed, 20.0), ev.RulesChanged(self.make_rules(kept), changed, 20.0)
        )

    def save(self, data: st.DataObject) -> None:
        """From here on the twin is a core that was restored from a snapshot."""
        self.twin = Core(self.make_rules(list(self.core.board.rules.models)), "i")
        self.twin.restore(self.core.snapshot())
        assert not self.difference()
        self.seen["restore"] += 1

    @rule(seconds=st.sampled_from([0.0, 0.5, 2.0, 10.0, 70.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.give_back_what_is_due()
        if self.wake is not None and self.wake <= self.now:
            self.wake = None
            self.send(ev.DeadlineReached())

    def give_back_what_is_due(self) -> None:
        """A worker keeps a lease for a second at most, and gives an idle one back as soon as it is asked to."""
        due = [lease for lease, since in self.parked.items() if lease in self.not_reusable or since + 1.0 <= self.now]
        for lease in sorted(due):
            if lease in self.leases:
                self.release(lease)

    @rule(grace=st.sampled_from([0.0, 5.0]))
    @precondition(lambda self: self.calls > 30)
    def shut_down(self, grace: float) -> None:
        self.send(ev.ShutdownAsked(self.question(), grace))

    @invariant()
    def timers_stay_bounded(self) -> None:
        assert len(self.core._timers) <= 5 * len(NAMES) + self.calls
        assert len(self.core.board._by_age) <= 4 * len(NAMES) + 1

    # The end of a run

    def teardown(self) -> None:
        """Closure: nothing arrives, everything outstanding completes, and every request ends."""
        for _ in range(600):
            if not (self.open or self.questions or self.leases or self.stopping):
                break
            self.everybody_knows_why()
            self.complete_one()
        assert not self.open, f"waits for ever: {self.open}"
        assert not self.questions, f"never answered: {self.questions}"

    def complete_one(self) -> None:
        if self.leases:
            self.release(min(self.leases))
        elif self.stopping or self.starting:
            self.complete_processes()
        elif self.wake is not None:
            self.now = max(self.now, self.wake)
            self.wake = None
            self.send(ev.DeadlineReached())
        else:
            raise AssertionError(f"{self.open} {self.questions} wait, and nothing is under way: {self.phases()}")

    def complete_processes(self) -> None:
        if self.stopping:
            self.end_process(min(self.stopping))
        else:
            process = min(self.starting)
            self.starting.remove(process)
            self.ready.add(process)
            self.send(ev.ModelReady(*process))

    def phases(self) -> dict[ModelId, Phase]:
        return {model.id: model.phase for model in self.core.board.models.values()}


def world_for(policy: str, eviction: str) -> type[World]:
    """The state machine of one combination; ``seen`` counts what happened in it."""
    attributes: dict[str, Any] = {
        "make_policy": staticmethod(POLICIES[policy]),
        "make_eviction": staticmethod(EVICTIONS[eviction]),
        "seen": Counter(),
    }
    return type(f"World_{policy}_{eviction}", (World,), attributes)
