"""The time to live, where it meets the claim and reloads (the plain cases: ``test_core_playbook.py``)."""

from protocol.ids import CallId, ModelId
from supervisor.scheduler import events as ev
from supervisor.scheduler.effects import StopReason
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import ModelRule, Rules
from tests.support.playbook import Play, memory_rules, rules_for, stop

A = ModelId("a")


def test_a_time_to_live_that_passed_while_its_model_drained_for_a_claim_counts_when_the_claim_has_ended() -> None:
    rules = memory_rules({"a": 5, "b": 10, "c": 5}, 10, max_wait=60.0)
    play = Play(Rules({model: ModelRule(ttl=90.0) for model in rules.models}, rules.policy, rules.eviction))
    play.ask("r1", "a").ready("a", 1)
    play.ask("r2", "c").ready("c", 2)
    play.ask("r3", "b").after(60.0).release(1)
    play.after(90.0) << []
    assert play.core.board.models[A].phase is Phase.DRAINING
    play >> ev.RequestAbandoned(CallId("r3"))
    play.after(0.0) << [stop("a", 1, StopReason.TTL)]


def test_a_reload_that_shortens_the_time_to_live_counts_for_models_that_are_idle_already() -> None:
    play = Play(rules_for("a", ttl=3600.0))
    play.ask("r1", "a").ready("a", 1).release(1).after(20.0)
    play >> ev.RulesChanged(rules_for("a", ttl=30.0))
    play.after(9.0) << []
    play.after(1.0) << [stop("a", 1, StopReason.TTL)]


def test_a_reload_that_lengthens_the_time_to_live_or_takes_it_away_is_obeyed_as_well() -> None:
    play = Play(rules_for("a", ttl=30.0))
    play.ask("r1", "a").ready("a", 1).release(1)
    play >> ev.RulesChanged(rules_for("a", ttl=60.0))
    play.after(30.0) << []
    play >> ev.RulesChanged(rules_for("a"))
    play.after(30.0) << []
    play >> ev.RulesChanged(rules_for("a", ttl=60.0))
    play.after(0.0) << [stop("a", 1, StopReason.TTL)]


def test_a_model_that_gives_way_before_its_time_to_live_is_over_is_not_stopped_by_it_in_its_next_life() -> None:
    play = Play(rules_for("a", "b", ttl=30.0, policy=Fifo()))
    play.ask("r1", "a").ready("a", 1).release(1)
    play.after(10.0).ask("r2", "b").exited("a", 1).ready("b", 2).release(2)
    play.after(10.0).ask("r3", "a").exited("b", 2).ready("a", 3).release(3)
    play.after(10.0) << []
    play.after(20.0) << [stop("a", 3, StopReason.TTL)]
