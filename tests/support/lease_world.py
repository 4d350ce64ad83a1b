"""Workers, messages and processes around the real core, in any order that can happen (design.md, *Parked leases*).

Everything between the core and an exchange is real, and every message goes through its codec
(``lease_supervisor.py``, ``lease_worker.py``); only sockets and processes are played. Messages lie in queues until
a rule delivers them, so they cross, and come after what they are about has ended.
"""

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from supervisor.scheduler import events as ev
from tests.support.lease_supervisor import ALIAS, MODELS, SLOTS, PlayedSupervisor, VirtualTime
from tests.support.lease_worker import SimulatedWorker

WORKERS = st.integers(0, SLOTS - 1)
NAMES = st.sampled_from([*map(str, MODELS), ALIAS])


class LeaseWorld(RuleBasedStateMachine):
    """``seen`` counts what happened, in all runs."""

    seen: Counter[str] = Counter()

    def __init__(self) -> None:
        super().__init__()
        VirtualTime.now = 100.0
        self.yard = PlayedSupervisor(self.seen)

    @initialize(eviction=st.integers(0, 2), limit=st.integers(1, 4), ttl=st.sampled_from([0.0, 2.0]))
    def configure(self, eviction: int, limit: int, ttl: float) -> None:
        self.yard.settings = (eviction, limit, ttl)
        self.yard.reload(frozenset(), MODELS)
        self.yard.deliver_all()

    # Messages

    @rule(slot=WORKERS, up=st.integers(0, 9), down=st.integers(0, 9))
    def some_messages(self, slot: int, up: int, down: int) -> None:
        self.yard.deliver(self.yard.workers[slot], up, down)

    @rule()
    def all_messages(self) -> None:
        self.yard.deliver_all()

    @rule(slot=WORKERS)
    def report(self, slot: int) -> None:
        self.yard.workers[slot].link._reports.flush()

    # Clients

    @rule(slot=WORKERS, name=NAMES)
    def request(self, slot: int, name: str) -> None:
        worker = self.yard.workers[slot]
        if any(name in worker.names_of(model) for model in MODELS):
            worker.ask(name)

    @rule(slot=WORKERS, name=NAMES, times=st.integers(2, 4), quiet=st.booleans())
    def request_again_and_again(self, slot: int, name: str, times: int, quiet: bool) -> None:
        """One client after the other, as fast as they are served; ``quiet``: nobody else waits."""
        if quiet:
            self.let_everything_end()
        for _ in range(times):
            self.request(slot, name)
            self.yard.deliver_all()
            self.go_on()
            self.yard.deliver_all()
            self.finish(slot, 0)

    @rule(slot=WORKERS, which=st.integers(0, 3))
    def finish(self, slot: int, which: int) -> None:
        worker = self.yard.workers[slot]
        if worker.exchanges:
            worker.end(worker.exchanges[which % len(worker.exchanges)])

    @rule(slot=WORKERS)
    @precondition(lambda self: any(worker.calls for worker in self.yard.workers))
    def leave(self, slot: int) -> None:
        worker = self.yard.workers[slot]
        if worker.calls:
            worker.leave(next(iter(worker.calls)))

    # Processes and time

    @rule()
    @precondition(lambda self: self.yard.starting or self.yard.stopping)
    def go_on(self) -> None:
        """Starts and stops succeed, most of the time."""
        for process in list(self.yard.stopping):
            self.yard.exit(process)
        for process in list(self.yard.starting):
            self.yard.become_ready(process)

    @rule(which=st.integers(0, 2))
    @precondition(lambda self: self.yard.stopping)
    def one_stops(self, which: int) -> None:
        self.yard.exit(self.yard.stopping[which % len(self.yard.stopping)])

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.3, 1.2, 3.0, 6.0]))
    def pass_time(self, seconds: float) -> None:
        VirtualTime.now += seconds
        loop = self.yard.loop
        if loop._wake is not None and loop._wake <= VirtualTime.now:
            loop._wake = None
            loop.post(ev.DeadlineReached())

    @rule(slot=WORKERS)
    def sweep(self, slot: int) -> None:
        self.yard.workers[slot].sweep()

    # Trouble

    @rule()
    @precondition(lambda self: self.yard.starting)
    def fail_to_start(self) -> None:
        self.yard.fail_to_start(self.yard.starting[0])

    @rule(data=st.data(), slot=WORKERS)
    def trouble(self, data: st.DataObject, slot: int) -> None:
        """What happens rarely, kept rare so that ordinary traffic gets somewhere."""
        yard = self.yard
        match data.draw(st.sampled_from(["lose", "late", "crash", "unload", "drain", "reload", "", ""])):
            case "lose":
                yard.replace(slot)
            case "late" if yard.buried:
                yard.deliver_late()
            case "crash" if yard.ready:
                self.seen["crash"] += 1
                process = data.draw(st.sampled_from(yard.ready))
                yard.exit(process)
                for worker in yard.workers:
                    worker.ask_on(process[1])
            case "unload" | "drain" as how:
                running = [model for model, _ in yard.ready]
                yard.unload(data.draw(st.sampled_from(running or MODELS)), drain=how == "drain")
                if data.draw(st.booleans()):
                    self.pass_time(1.2)
                    self.end_everything(yard.workers[slot])
            case "reload":
                self.change_configuration(data)
            case _:
                pass

    def change_configuration(self, data: st.DataObject) -> None:
        yard = self.yard
        removed = data.draw(st.sampled_from([None, None, *MODELS]))
        kept = [model for model in MODELS if model != removed]
        alias = data.draw(st.sampled_from(kept))
        self.seen["alias moved"] += alias != yard.alias
        yard.alias = alias
        yard.settings = (data.draw(st.integers(0, 2)), data.draw(st.integers(1, 4)), yard.settings[2])
        yard.reload(data.draw(st.sampled_from([frozenset(), frozenset(kept[:1])])), kept)

    # What must hold

    @invariant()
    def nothing_was_forbidden(self) -> None:
        assert not self.yard.core.forbidden

    @invariant()
    def books_are_in_order(self) -> None:
        for worker in self.yard.workers:
            worker.check()

    @invariant()
    def a_lease_that_a_worker_holds_is_outstanding_as_long_as_its_process_lives(self) -> None:
        for worker in self.yard.workers:
            for lease, held in worker.book._held.items():
                known = self.yard.core.board.leases.get(lease)
                if known is not None:
                    assert known.worker == worker.link.worker
                else:
                    assert not self.yard.lives(held.model, held.generation), f"{lease} has ended and is still held"

    def teardown(self) -> None:
        """Nothing arrives any more: every request is answered, every question too, and every lease comes back."""
        for _ in range(100):
            self.let_everything_end()
            self.pass_time(1.2)
            if self.at_rest():
                return
        calls = [call for worker in self.yard.workers for call in worker.calls]
        raise AssertionError(f"no rest: {calls} {self.yard.core.board.leases} {self.yard.open_questions}")

    def let_everything_end(self) -> None:
        while self.yard.buried:
            self.yard.deliver_late()
        self.yard.deliver_all()
        for worker in self.yard.workers:
            self.end_everything(worker)
        self.go_on()
        self.yard.deliver_all()

    def end_everything(self, worker: SimulatedWorker) -> None:
        for held in list(worker.exchanges):
            worker.end(held)
        worker.link._reports.flush()
        worker.sweep()

    def at_rest(self) -> bool:
        board = self.yard.core.board
        busy = any(w.up.frames or w.down or w.calls or w.book._held for w in self.yard.workers)
        return not (busy or board.leases or board.waiters or self.yard.open_questions)
