"""What a reload does to what is under way, one dialogue each (the plain case: ``test_core_orders.py``)."""

from typing import ClassVar

from protocol.ids import CallId, ModelId, Refusal
from supervisor.scheduler import events as ev
from supervisor.scheduler.effects import StopReason
from supervisor.scheduler.evictions.group import Group, Groups
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import ModelRule, Rules
from tests.support.playbook import (
    Play,
    grant,
    matrix_rules,
    memory_rules,
    phase,
    refused,
    rules_for,
    running_a,
    start,
    stop,
)

A, B, D = (ModelId(name) for name in "abd")


def test_a_policy_keeps_its_accounts_across_a_reload() -> None:
    class Counting(Fifo):
        """Remembers how many events it saw."""

        def snapshot(self) -> dict[str, int]:
            return {"seen": counts[id(self)]}

        def restore(self, snapshot: object) -> None:
            assert isinstance(snapshot, dict)
            counts[id(self)] = snapshot["seen"]

        def observe(self, event: ev.Event, now: float) -> None:
            counts[id(self)] = counts.get(id(self), 0) + 1

    counts: dict[int, int] = {}
    models = {A: ModelRule()}
    first, second = Counting(), Counting()
    play = Play(Rules(models, first, Groups()))
    play.ask("r1", "a").ready("a", 1)
    play.reload(Rules(models, second, Groups()))
    assert counts[id(second)] == 3


def test_a_reload_that_makes_the_claimed_model_impossible_refuses_it_and_lets_its_victims_serve() -> None:
    play = Play(memory_rules({"a": 6, "b": 6}, 10))
    play.ask("r1", "a").ready("a", 1).ask("r2", "b").after(60.0)
    assert phase(play, A) is Phase.DRAINING
    play.reload(memory_rules({"a": 6, "b": 11}, 10))
    assert refused(play) == [("r2", Refusal.IMPOSSIBLE)]
    assert phase(play, A) is Phase.READY


def test_a_reload_that_makes_a_plans_target_impossible_refuses_it() -> None:
    play = Play(memory_rules({"a": 6, "b": 6}, 10))
    play.ask("r1", "a").ready("a", 1).release(1).ask("r2", "b") << [stop("a", 1)]
    play.reload(memory_rules({"a": 6, "b": 11}, 10))
    assert refused(play) == [("r2", Refusal.IMPOSSIBLE)]
    assert phase(play, B) is Phase.STOPPED


def test_a_reload_that_makes_two_plans_share_their_victims_keeps_the_older_one() -> None:
    pair, other = Group(swap=True, exclusive=False), Group(swap=True, exclusive=False)
    play = Play(rules_for("a", "b", "c", "d", groups={"a": pair, "b": pair, "c": other, "d": other}))
    play.ask("r1", "a").ready("a", 1).release(1)
    play.ask("r2", "c").ready("c", 2).release(2)
    play.ask("r3", "b") << [stop("a", 1)]
    play.ask("r4", "d") << [stop("c", 2)]
    play.reload(matrix_rules({"one": "a & c", "two": "b & d"}, "abcd"))
    assert (phase(play, B), phase(play, D)) == (Phase.MAKING_ROOM, Phase.STOPPED)
    play.exited("a", 1) << []
    play.exited("c", 2) << [start("b", 3), start("d", 4)]


def test_the_order_that_breaks_ties_has_no_ties_after_a_reload() -> None:
    play = running_a()
    play.release(1)
    play >> ev.LoadAsked(CallId("l"), B)
    play.reload(rules_for("c", "a"))
    assert [(model.id, model.order) for model in play.core.board.models.values()] == [("c", 0), ("a", 1)]
    play = running_a()
    play.reload(rules_for("b", "c"))
    assert [(model.id, model.order) for model in play.core.board.models.values()] == [("b", 0), ("c", 1), ("a", 2)]


def test_a_policy_of_another_name_starts_without_accounts() -> None:
    class Other(Fifo):
        """Another policy, and another rule's accounts are none of its business."""

        name: ClassVar[str] = "other"

        def restore(self, snapshot: object) -> None:
            raise AssertionError("these are the accounts of somebody else")

    play = running_a()
    play.reload(rules_for("a", policy=Other())) << []
    play.reload(memory_rules({"a": 1}, 10)) << []
    play.ask("r2", "a") << [grant("r2", 2, "a", 1)]


def test_who_waits_for_a_changed_model_keeps_his_place_and_it_starts_on_demand() -> None:
    play = running_a(limit=1)
    play.ask("r2", "a")
    play.reload(rules_for("a", "b", "c", limit=1), "a") << []
    play.release(1) << [stop("a", 1, StopReason.RELOADED)]
    play.exited("a", 1) << [start("a", 2)]
    play.ready("a", 2) << [grant("r2", 2, "a", 2)]
    play.reload(rules_for("a", "b", "c", limit=1), "a").release(2) << [stop("a", 2, StopReason.RELOADED)]
    play.exited("a", 2) << []
    play.ask("r3", "a") << [start("a", 3)]


def test_a_plan_whose_victims_come_to_hold_a_busy_model_is_given_up_and_its_requests_keep_their_places() -> None:
    pair, other = Group(swap=True, exclusive=False), Group(swap=True, exclusive=False)
    groups = {"a": pair, "b": pair, "c": other}
    play = Play(rules_for("a", "b", "c", groups=groups))
    play.ask("r1", "a").ready("a", 1).release(1)
    play.ask("r2", "c").ready("c", 2)
    play.ask("r3", "b") << [stop("a", 1)]
    play.reload(rules_for("a", "b", "c")) << []
    assert phase(play, B) is Phase.STOPPED
    play.ask("r4", "a").exited("a", 1) << []
    play.release(2) << [stop("c", 2)]
    play.exited("c", 2) << [start("b", 3)]


def test_an_order_to_restart_models_goes_in_configuration_order_not_by_name() -> None:
    beside = Group(swap=False)
    groups = dict.fromkeys("ab", beside)
    play = Play(rules_for("b", "a", groups=groups))
    play.ask("r1", "a").ready("a", 1).release(1).ask("r2", "b").ready("b", 2).release(2)
    play.reload(rules_for("b", "a", groups=groups), "a", "b")
    play << [stop("b", 2, StopReason.RELOADED), stop("a", 1, StopReason.RELOADED)]
