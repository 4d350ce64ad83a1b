"""The invariants of the core under random events (design.md section 4), with a simulated world around it.

The world keeps what the effects promise: processes that start, stop, fail, hang on or die, leases that
workers hold, timers. At the end of each run everything outstanding completes and nobody may still wait.
"""

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from protocol.ids import CallId, LeaseId, ModelId, WorkerId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.core import Core
from supervisor.scheduler.evictions.group import Group, Groups
from supervisor.scheduler.invariants import check
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import ModelRule, Rules

NAMES = [ModelId(name) for name in "abcde"]
MODELS = st.sampled_from(NAMES)
WORKERS = [WorkerId("0.1.x"), WorkerId("1.2.x")]
SEEN: Counter[str] = Counter()
GROUPS = st.fixed_dictionaries(
    {"x": st.tuples(st.booleans(), st.booleans(), st.booleans()), "y": st.tuples(*[st.booleans()] * 3)}
)


class World(RuleBasedStateMachine):
    """Sends what a real shell could send, in any order, and keeps its promises."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.calls = 0
        self.open: set[CallId] = set()
        self.questions: set[CallId] = set()
        self.leases: dict[LeaseId, do.Grant] = {}
        self.starting: set[tuple[ModelId, int]] = set()
        self.alive: set[tuple[ModelId, int]] = set()
        self.ready: set[tuple[ModelId, int]] = set()
        self.stopping: set[tuple[ModelId, int]] = set()
        self.overdue: set[tuple[ModelId, int]] = set()
        self.wake: float | None = None
        self.core = self.twin = Core(self.make_rules({}, 2, 0.0), "i")

    def make_rules(self, groups: dict[str, tuple[bool, bool, bool]], limit: int, ttl: float) -> Rules:
        made = {name: Group(*flags) for name, flags in groups.items()}
        membership = {NAMES[0]: made["x"], NAMES[1]: made["x"], NAMES[2]: made["y"]} if made else {}
        models = {name: ModelRule(limit=limit, queue_limit=4, queue_timeout=50.0, ttl=ttl) for name in NAMES}
        return Rules(models, Fifo(), Groups(membership))

    @rule(groups=GROUPS, limit=st.integers(1, 3), ttl=st.sampled_from([0.0, 5.0]))
    @precondition(lambda self: self.calls == 0 and not self.core.board.running)
    def configure(self, groups: dict[str, tuple[bool, bool, bool]], limit: int, ttl: float) -> None:
        self.core = Core(self.make_rules(groups, limit, ttl), "i")
        self.twin = Core(self.make_rules(groups, limit, ttl), "i")
        self.wake = None

    def send(self, event: ev.Event) -> None:
        SEEN[type(event).__name__] += 1
        effects = self.core.handle(event, self.now)
        check(self.core.board, effects)
        if self.twin is not self.core:
            assert self.twin.handle(event, self.now) == effects, "the same events gave other effects"
        for effect in effects:
            self.carry_out(effect)

    def carry_out(self, effect: do.Effect) -> None:
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
                SEEN["Grant"] += 1
                self.leases[effect.lease] = effect
            case do.Refuse():
                self.end_call(effect.call)
            case do.Answer():
                self.questions.remove(effect.call)
            case do.WakeAt(when):
                self.wake = when
            case _:
                pass

    def end_call(self, call: CallId) -> None:
        assert call in self.open, "a request ended twice"
        self.open.remove(call)

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
        self.send(ev.RequestAbandoned(self.leases.pop(lease).call))

    @rule(data=st.data())
    @precondition(lambda self: self.leases)
    def release(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(sorted(self.leases)))
        del self.leases[lease]
        self.send(ev.LeaseReleased(lease, self.now))

    @rule()
    @precondition(lambda self: self.starting or self.stopping)
    def go_on(self) -> None:
        """Starts and stops succeed, most of the time."""
        self.complete_processes()

    @rule(data=st.data())
    @precondition(lambda self: self.starting - self.stopping)
    def become_ready(self, data: st.DataObject) -> None:
        model, generation = data.draw(st.sampled_from(sorted(self.starting)))
        self.starting.remove((model, generation))
        self.ready.add((model, generation))
        self.send(ev.ModelReady(model, generation))

    @rule(data=st.data())
    @precondition(lambda self: self.starting)
    def fail_to_start(self, data: st.DataObject) -> None:
        model, generation = data.draw(st.sampled_from(sorted(self.starting)))
        self.starting.remove((model, generation))
        self.stopping.add((model, generation))
        self.send(ev.ModelStartFailed(model, generation, "no"))

    @rule(data=st.data(), natural=st.booleans())
    @precondition(lambda self: self.alive)
    def exit(self, data: st.DataObject, natural: bool) -> None:
        choice = sorted(self.alive if natural else (self.stopping or self.alive))
        self.end_process(data.draw(st.sampled_from(choice)))

    def end_process(self, process: tuple[ModelId, int]) -> None:
        for processes in (self.starting, self.alive, self.ready, self.stopping, self.overdue):
            processes.discard(process)
        self.send(ev.ModelExited(*process, "exited"))
        self.leases = {k: v for k, v in self.leases.items() if (v.model, v.generation) != process}

    @rule(data=st.data())
    @precondition(lambda self: self.stopping - self.starting - self.overdue)
    def be_overdue(self, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from(sorted(self.stopping - self.starting - self.overdue)))
        self.overdue.add(process)
        self.send(ev.StopOverdue(*process, 4711))

    @rule(data=st.data())
    def trouble(self, data: st.DataObject) -> None:
        """What happens rarely, kept rare so that ordinary traffic gets somewhere."""
        happenings = [self.lose_worker, self.load, self.unload, self.reset, self.report, self.reload]
        data.draw(st.sampled_from(happenings))(data)

    def lose_worker(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(WORKERS))
        self.open -= {call for call, waiter in self.core.board.waiters.items() if waiter.worker == worker}
        self.leases = {k: v for k, v in self.leases.items() if v.worker != worker}
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
        changed = data.draw(st.sets(MODELS, max_size=2))
        rules = self.make_rules({}, data.draw(st.integers(1, 3)), 5.0)
        kept = {name: rule for name, rule in rules.models.items() if name not in gone}
        self.send(ev.RulesChanged(Rules(kept, Fifo(), Groups()), frozenset(changed - gone), 20.0))

    @rule(seconds=st.sampled_from([0.0, 0.5, 2.0, 10.0, 70.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        if self.wake is not None and self.wake <= self.now:
            self.wake = None
            self.send(ev.DeadlineReached())

    @rule(grace=st.sampled_from([0.0, 5.0]))
    @precondition(lambda self: self.calls > 20)
    def shut_down(self, grace: float) -> None:
        call = self.new_call()
        self.questions.add(call)
        self.send(ev.ShutdownAsked(call, grace))

    @invariant()
    def timers_stay_bounded(self) -> None:
        assert len(self.core._timers) <= 4 * len(NAMES) + self.calls

    def teardown(self) -> None:
        """Closure: nothing arrives, everything outstanding completes, and every request ends."""
        for _ in range(400):
            if not (self.open or self.questions or self.leases or self.stopping):
                break
            self.complete_one()
        assert not self.open, f"waits for ever: {self.open}"
        assert not self.questions, f"never answered: {self.questions}"

    def complete_one(self) -> None:
        if self.leases:
            lease = min(self.leases)
            del self.leases[lease]
            self.send(ev.LeaseReleased(lease, self.now))
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


def test_the_invariants_hold_under_random_events() -> None:
    run_state_machine_as_test(
        World,
        settings=settings(
            max_examples=150,
            stateful_step_count=60,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(dict(SEEN))
    expected = {"Grant"} | {event.__name__ for event in ev.Event.__args__}
    assert expected <= {name for name, count in SEEN.items() if count > 0}, SEEN
