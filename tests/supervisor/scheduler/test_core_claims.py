"""The claim and residence (design.md, *The claim*), one dialogue for each rule."""

from dataclasses import replace
from typing import Any

from protocol.ids import CallId, LeaseId, ModelId, Refusal, WorkerId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.effects import StopReason
from supervisor.scheduler.evictions.group import Group
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import ModelRule
from tests.support.playbook import Play, grant, matrix_rules, memory_rules, phase, rules_for, start, stop

A, B, C = ModelId("a"), ModelId("b"), ModelId("c")


def busy_a(max_wait: float = 60.0, load: float = 0.0, **rule: Any) -> Play:
    """Model a is ready since now, took ``load`` seconds, and serves call r1 under lease 1."""
    play = Play(rules_for("a", "b", "c", policy=Fifo(max_wait=max_wait), **rule))
    play.ask("r1", "a") << [start("a", 1)]
    play.now += load
    play.ready("a", 1) << [grant("r1", 1, "a", 1)]
    return play


def test_a_blocked_request_claims_room_when_it_has_waited_long_enough() -> None:
    play = busy_a()
    play.ask("r2", "b") << [do.WakeAt(play.now + 60.0)]
    play.after(59.9)
    play.ask("r3", "a") << [grant("r3", 2, "a", 1)]
    play.after(0.1) << []
    assert phase(play, A) is Phase.DRAINING
    play.ask("r4", "a") << []
    play.release(1) << []
    play.release(2) << [stop("a", 1)]
    play.exited("a", 1) << [start("b", 2)]
    play.ready("b", 2) << [grant("r2", 3, "b", 2)]


def test_without_max_wait_nothing_is_ever_claimed() -> None:
    play = busy_a(max_wait=0.0)
    play.ask("r2", "b").after(1000.0) << []
    assert play.core.board.claim is None
    assert phase(play, A) is Phase.READY
    play.after(9000.0) << [do.Refuse(CallId("r2"), WorkerId("0.1.w"), *timed_out(10_000))]


def timed_out(seconds: int) -> tuple[Refusal, str]:
    return Refusal.TIMED_OUT, f"waited {seconds} s for model 'b'"


def test_the_grant_of_a_claim_serves_all_who_wait_up_to_the_limit() -> None:
    play = busy_a(limit=2)
    for call in ("r2", "r3", "r4"):
        play.ask(call, "b")
    play.after(60.0).release(1) << [stop("a", 1)]
    play.exited("a", 1) << [start("b", 2)]
    play.ready("b", 2) << [grant("r2", 2, "b", 2), grant("r3", 3, "b", 2)]
    assert play.core.board.claim is None


def test_a_claim_that_is_abandoned_lets_its_victims_serve_again() -> None:
    play = busy_a()
    play.ask("r2", "b").after(60.0).ask("r3", "a") << []
    play >> ev.RequestAbandoned(CallId("r2"))
    play << [grant("r3", 2, "a", 1)]
    assert phase(play, A) is Phase.READY


def test_a_claim_that_is_refused_lets_its_victims_serve_again() -> None:
    play = busy_a(queue_timeout=90.0)
    play.ask("r2", "b").after(60.0).ask("r3", "a") << []
    play.after(30.0) << [do.Refuse(CallId("r2"), WorkerId("0.1.w"), *timed_out(90)), grant("r3", 2, "a", 1)]


def test_one_claim_stands_at_a_time_and_the_oldest_request_goes_first() -> None:
    play = busy_a()
    play.ask("r2", "c")
    play.now += 1.0
    play.ask("r3", "b").after(70.0) << []
    assert play.core.board.claim is not None
    assert play.core.board.claim.target == C
    play.release(1) << [stop("a", 1)]
    play.exited("a", 1) << [start("c", 2)]
    play.ready("c", 2) << [grant("r2", 2, "c", 2)]
    assert play.core.board.claim is not None
    assert play.core.board.claim.target == B


def test_nothing_starts_that_conflicts_with_a_claim() -> None:
    together = Group(swap=False, exclusive=False)
    groups = {"a": together, "c": together}
    play = Play(rules_for("a", "b", "c", groups=groups, policy=Fifo(max_wait=60.0)))
    play.ask("r1", "a").ready("a", 1)
    play.ask("r2", "b").after(60.0)
    play.ask("r3", "c") << []
    play.release(1) << [stop("a", 1)]
    play.exited("a", 1) << [start("b", 2)]


def test_a_claim_breaks_a_plan_that_is_in_its_way() -> None:
    play = Play(matrix_rules({"one": "a & c", "two": "b & c", "three": "a & d"}, "abcd", max_wait=10.0))
    play.ask("r1", "a").ready("a", 1)
    play.ask("r2", "b")
    play.ask("r3", "c").ready("c", 2).release(2)
    play.now += 9.0
    play.ask("r4", "d") << [stop("c", 2)]
    play.after(1.0) << []
    assert phase(play, ModelId("d")) is Phase.STOPPED
    assert phase(play, A) is Phase.DRAINING


def test_nothing_is_claimed_against_a_model_before_it_was_ready_as_long_as_its_swap_took() -> None:
    play = busy_a(max_wait=5.0, load=20.0)
    ready_at = play.now
    play.ask("r2", "b").after(5.0) << [do.WakeAt(ready_at + 20.0)]
    assert phase(play, A) is Phase.READY
    play.ask("r3", "a") << [grant("r3", 2, "a", 1)]
    play.after(14.9) << []
    assert phase(play, A) is Phase.READY
    play.after(0.2) << []
    assert phase(play, A) is Phase.DRAINING


def test_an_idle_model_gives_way_at_once_however_young_it_is() -> None:
    play = busy_a(load=300.0)
    play.release(1)
    play.ask("r2", "b") << [stop("a", 1)]


def test_victims_are_stopped_only_when_all_of_them_are_idle() -> None:
    play = Play(memory_rules({"a": 5, "b": 10, "c": 5}, 10, max_wait=60.0))
    play.ask("r1", "a").ready("a", 1)
    play.ask("r2", "c").ready("c", 2)
    play.ask("r3", "b").after(60.0) << []
    play.release(1) << []
    assert (phase(play, A), phase(play, C)) == (Phase.DRAINING, Phase.DRAINING)
    play.release(2) << [stop("a", 1), stop("c", 2)]
    play.exited("c", 2).exited("a", 1) << [start("b", 3)]


def test_a_compatible_third_model_enlarging_the_victims_of_a_claim_has_to_wait() -> None:
    play = Play(memory_rules({"a": 6, "b": 8, "c": 3}, 10, max_wait=60.0))
    play.ask("r1", "a").ready("a", 1)
    play.ask("r2", "b").after(60.0)
    play.ask("r3", "c") << []
    play.release(1) << [stop("a", 1)]
    play.exited("a", 1) << [start("b", 2)]


def test_a_compatible_third_model_that_leaves_the_victims_as_they_are_may_start() -> None:
    play = Play(memory_rules({"a": 6, "b": 7, "c": 3}, 10, max_wait=60.0))
    play.ask("r1", "a").ready("a", 1)
    play.ask("r2", "b").after(60.0)
    play.ask("r3", "c") << [start("c", 2)]


def test_what_drains_already_is_not_exchanged_for_another_victim() -> None:
    play = Play(memory_rules({"a": 5, "b": 5, "c": 5, "d": 0}, 10, max_wait=60.0))
    play.ask("r1", "a").ready("a", 1)
    play.ask("r1b", "a")
    play.now += 1.0
    play.ask("r2", "c").ready("c", 2)
    play.ask("r3", "b").after(60.0) << []
    assert phase(play, A) is Phase.DRAINING
    # a is used later than c now, so a fresh choice would take c.
    play.now += 5.0
    play.release(1) >> ev.LoadAsked(CallId("l"), ModelId("d"))
    assert (phase(play, A), phase(play, C)) == (Phase.DRAINING, Phase.READY)


def test_a_victim_that_becomes_idle_first_is_taken_instead_and_the_claim_ends_early() -> None:
    play = Play(memory_rules({"a": 5, "b": 5, "c": 5}, 10, max_wait=60.0))
    play.ask("r1", "a").ready("a", 1)
    play.ask("r2", "c").ready("c", 2)
    play.ask("r3", "b").after(60.0).ask("r4", "a") << []
    play.release(2) << [stop("c", 2), grant("r4", 3, "a", 1)]


def test_a_victim_that_is_no_longer_needed_serves_again() -> None:
    play = Play(memory_rules({"a": 5, "b": 8, "c": 5, "d": 5}, 15, max_wait=60.0))
    for generation, model in enumerate("acd", 1):
        play.ask(f"r{generation}", model).ready(model, generation)
        play.now += 1.0
    play.ask("r4", "b").after(60.0)
    assert [phase(play, model) for model in "acd"] == [Phase.DRAINING, Phase.DRAINING, Phase.READY]
    play.ask("r5", "c") << []
    play.exited("d", 3, "was killed by SIGSEGV") << [grant("r5", 4, "c", 2)]
    assert [phase(play, model) for model in "ac"] == [Phase.DRAINING, Phase.READY]


def test_a_claim_whose_victim_does_not_die_is_refused_and_the_others_serve_again() -> None:
    play = Play(memory_rules({"a": 5, "b": 10, "c": 5}, 10, max_wait=60.0))
    play.ask("r1", "a").ready("a", 1)
    play.ask("r2", "c").ready("c", 2)
    play.ask("r3", "b").after(60.0)
    play >> ev.UnloadAsked(CallId("u"), (C,))
    play >> ev.StopOverdue(C, 2, 4711)
    assert [effect.refusal for effect in play.last if isinstance(effect, do.Refuse)] == [Refusal.STUCK]
    assert phase(play, A) is Phase.READY


def test_a_drain_that_meets_a_claim_still_ends_with_a_stop() -> None:
    play = busy_a()
    play.ask("r2", "b").after(60.0)
    play >> ev.UnloadAsked(CallId("u"), (A,), drain=True)
    play.ask("r3", "a")
    play >> ev.RequestAbandoned(CallId("r2"))
    play << []
    assert phase(play, A) is Phase.DRAINING
    play.release(1) << [stop("a", 1, StopReason.DRAINED)]


def test_a_reload_that_removes_a_draining_victim_leaves_the_claim_standing() -> None:
    play = busy_a()
    play.ask("r2", "b").after(60.0)
    play >> ev.RulesChanged(rules_for("b", "c"))
    play.exited("a", 1) << [start("b", 2)]


def test_a_claim_takes_the_room_of_a_plan_that_is_still_stopping_its_victims() -> None:
    play = Play(memory_rules({"a": 10, "b": 10, "c": 10}, 10, max_wait=60.0))
    play.ask("r1", "a").ready("a", 1).release(1)
    play.ask("r2", "c") << [stop("a", 1)]
    play.now -= 1.0
    play.ask("r3", "b") << []
    play.now += 1.0
    play.after(59.0) << []
    assert phase(play, C) is Phase.STOPPED
    play.exited("a", 1) << [start("b", 2)]


def test_a_load_may_claim_room_too() -> None:
    play = busy_a()
    play >> ev.LoadAsked(CallId("l"), B)
    play.after(60.0).release(1) << [stop("a", 1)]
    play.exited("a", 1) << [start("b", 2)]
    play.ready("b", 2) << [do.Answer(CallId("l"))]
    assert play.core.board.claim is None


def test_the_claims_target_that_fails_to_start_ends_the_claim() -> None:
    play = busy_a()
    play.ask("r2", "b").after(60.0).release(1)
    play.exited("a", 1)
    play >> ev.ModelStartFailed(B, 2, "no memory")
    assert play.core.board.claim is None


def test_an_unload_of_the_claimed_model_refuses_it_and_ends_the_claim() -> None:
    play = busy_a()
    play.ask("r2", "b").after(60.0)
    play >> ev.UnloadAsked(CallId("u"), (B,))
    assert play.core.board.claim is None
    assert phase(play, A) is Phase.READY


def test_priorities_decide_who_is_tried_first_and_equal_ones_keep_arrival_order() -> None:
    play = Play(rules_for("a", "b", "c", "d", policy=Fifo(priority={C: 5})))
    play.ask("r1", "a").ready("a", 1)
    for call, model in (("r2", "b"), ("r3", "d"), ("r4", "c")):
        play.ask(call, model)
    play.release(1) << [stop("a", 1)]
    play.exited("a", 1) << [start("c", 2)]
    play.ready("c", 2) >> ev.LeaseReleased(LeaseId("i/L2"), play.now)
    play << [stop("c", 2)]
    play.exited("c", 2) << [start("b", 3)]


def test_what_does_not_concern_a_claim_that_cannot_go_on_may_start() -> None:
    aside = Group(swap=False, exclusive=False)
    rules = rules_for("a", "b", "c", groups={"c": aside}, policy=Fifo(5.0))
    play = Play(replace(rules, models={**rules.models, A: ModelRule(pinned=True)}))
    play.ask("r1", "a").ready("a", 1).ask("r2", "b").after(5.0)
    assert play.core.board.claim is not None
    assert phase(play, A) is Phase.READY
    play.ask("r3", "c") << [start("c", 2)]
