"""A core that was restored goes on as the one that it was taken from (random forms: ``test_core_model.py``)."""

import json
from collections.abc import Callable, Mapping

import pytest

from protocol.ids import CallId, ModelId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.contracts import Standing, Verdict
from supervisor.scheduler.core import Core
from supervisor.scheduler.evictions.group import Groups
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import ModelRule, Rules
from tests.support.playbook import Play, grant, matrix_rules, memory_rules, rules_for, start, stop


class Remembering(Fifo):
    """Counts what it observes."""

    seen = 0

    def observe(self, event: ev.Event, now: float) -> None:
        object.__setattr__(self, "seen", self.seen + 1)

    def snapshot(self) -> ev.Snapshot:
        return {"seen": self.seen}

    def restore(self, snapshot: ev.Snapshot) -> None:
        object.__setattr__(self, "seen", snapshot["seen"])


class RuleWithMemory(Groups):
    """Counts how often it was asked."""

    asked = 0

    def victims(self, target: ModelId, standing: Mapping[ModelId, Standing], *, allow_busy: bool) -> Verdict:
        self.asked += 1
        return super().victims(target, standing, allow_busy=allow_busy)

    def snapshot(self) -> ev.Snapshot:
        return {"asked": self.asked}

    def restore(self, snapshot: ev.Snapshot) -> None:
        self.asked = snapshot["asked"]


def restored(play: Play, rules: Rules) -> Play:
    """Another dialogue, with a core that has been through JSON."""
    text = json.dumps(play.core.snapshot())
    other = Play(rules)
    other.core = Core(rules, "i")
    other.core.restore(json.loads(text))
    other.now = play.now
    assert other.core.snapshot() == json.loads(text)
    return other


def rules() -> Rules:
    return rules_for("a", "b", "c", policy=Fifo(60.0), parking=True, ttl=30.0)


def test_a_standing_claim_its_leases_and_its_queue_survive() -> None:
    play = Play(rules())
    play.ask("r1", "a").ready("a", 1).ask("r2", "b").after(60.0).ask("r3", "a")
    play = restored(play, rules())
    play.release(1) << [stop("a", 1)]
    play.exited("a", 1) << [start("b", 2)]
    play.ready("b", 2) << [grant("r2", 2, "b", 2)]
    assert play.core.board.claim is None


def test_a_plan_and_an_order_survive() -> None:
    play = Play(rules())
    play.ask("r1", "a").ready("a", 1).release(1).ask("r2", "b")
    play >> ev.UnloadAsked(CallId("u"), (ModelId("a"),), drain=True)
    play = restored(play, rules())
    play.exited("a", 1) << [start("b", 2), do.Answer(CallId("u"))]


def test_failures_and_timers_survive() -> None:
    play = Play(rules())
    play.ask("r1", "a") >> ev.ModelStartFailed(ModelId("a"), 1, "no memory")
    play.exited("a", 1)
    play = restored(play, rules())
    play.ask("r2", "a")
    assert any(isinstance(effect, do.Refuse) for effect in play.last)
    play.after(1.0).ask("r3", "a") << [start("a", 2)]
    play.ready("a", 2)
    play = restored(play, rules())
    play.release(1).after(30.0) << [stop("a", 2, do.StopReason.TTL)]


@pytest.mark.parametrize(
    "made",
    [lambda: matrix_rules({"one": "a & c", "two": "b & c"}, "abc"), lambda: memory_rules({"a": 5, "b": 5, "c": 5}, 10)],
)
def test_a_core_with_any_rule_goes_on_as_it_was(made: Callable[[], Rules]) -> None:
    play = Play(made())
    play.ask("r1", "a").ready("a", 1).ask("r2", "c").ready("c", 2).ask("r3", "b")
    play = restored(play, made())
    play.release(1) << [stop("a", 1)]
    play.exited("a", 1) << [start("b", 3)]


def test_the_accounts_of_a_policy_and_of_a_rule_survive() -> None:
    play = Play(Rules({ModelId("a"): ModelRule()}, Remembering(), RuleWithMemory()))
    play.ask("r1", "a").ready("a", 1)
    policy, rule = Remembering(), RuleWithMemory()
    restored(play, Rules({ModelId("a"): ModelRule()}, policy, rule))
    assert (policy.seen, rule.asked) == (2, 1)
