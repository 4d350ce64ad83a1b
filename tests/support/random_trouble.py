"""What happens rarely in the random world: crashes, failures, hangs, lost workers, reloads, unloads, shutdown.

``world_for(policy, eviction)`` makes the hypothesis state machine of one combination.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from protocol.ids import CallId
from supervisor.scheduler import events as ev
from supervisor.scheduler.core import Core
from tests.support.random_parts import EVICTIONS, NAMES, POLICIES, VARIANTS
from tests.support.random_world import MODELS, WORKERS, World


class TroubledWorld(World):
    """Kept rare, so that ordinary traffic gets somewhere."""

    @rule(data=st.data())
    def trouble(self, data: st.DataObject) -> None:
        """One of these."""
        happenings: list[Callable[[st.DataObject], None]] = [
            self.lose_worker, self.load, self.unload, self.reset, self.report, self.reload, self.save,
            self.fail_to_start, self.crash, self.be_overdue, self.late_ready, self.abandon_after_grant, self.shut_down,
        ]  # fmt: skip
        data.draw(st.sampled_from(happenings))(data)

    def fail_to_start(self, data: st.DataObject) -> None:
        if self.under_way.starting:
            process = data.draw(st.sampled_from(sorted(self.under_way.starting)))
            self.under_way.starting.remove(process)
            self.under_way.stopping.add(process)
            self.send(ev.ModelStartFailed(*process, "no"))

    def crash(self, data: st.DataObject) -> None:
        if self.under_way.alive:
            self.seen["crash"] += 1
            self.end_process(data.draw(st.sampled_from(sorted(self.under_way.alive))))

    def be_overdue(self, data: st.DataObject) -> None:
        slow = self.under_way.stopping - self.under_way.starting - self.under_way.overdue
        if slow:
            process = data.draw(st.sampled_from(sorted(slow)))
            self.under_way.overdue.add(process)
            self.send(ev.StopOverdue(*process, 4711))

    def late_ready(self, data: st.DataObject) -> None:
        """A start that was to be stopped became ready just before."""
        crossing = self.under_way.starting & self.under_way.stopping
        if crossing:
            self.seen["late ready"] += 1
            process = data.draw(st.sampled_from(sorted(crossing)))
            self.under_way.starting.remove(process)
            self.send(ev.ModelReady(*process))

    def abandon_after_grant(self, data: st.DataObject) -> None:
        if self.under_way.leases:
            self.seen["cancel crosses grant"] += 1
            lease = data.draw(st.sampled_from(sorted(self.under_way.leases)))
            self.under_way.parked.pop(lease, None)
            self.send(ev.RequestAbandoned(self.under_way.leases.pop(lease).call))

    def lose_worker(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(WORKERS))
        waiting = {call for call, waiter in self.core.board.waiters.items() if waiter.worker == worker}
        self.under_way.lose(worker, waiting)
        self.send(ev.WorkerLost(worker))

    def question(self) -> CallId:
        call = self.new_call()
        self.under_way.questions.add(call)
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
        policy, eviction, limit = (data.draw(st.integers(*span)) for span in ((0, 5), (0, VARIANTS - 1), (1, 3)))
        self.settings = (policy, eviction, limit, data.draw(st.sampled_from([0.0, 2.0, 30.0])))
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

    def shut_down(self, data: st.DataObject) -> None:
        if self.calls > 30:
            self.send(ev.ShutdownAsked(self.question(), data.draw(st.sampled_from([0.0, 5.0]))))


def world_for(policy: str, eviction: str) -> type[World]:
    """The state machine of one combination; ``seen`` counts what happened in it."""
    attributes: dict[str, Any] = {
        "make_policy": staticmethod(POLICIES[policy]),
        "make_eviction": staticmethod(EVICTIONS[eviction]),
        "seen": Counter(),
    }
    return type(f"World_{policy}_{eviction}", (TroubledWorld,), attributes)
