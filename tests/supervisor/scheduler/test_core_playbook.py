"""The decisions of the core, one dialogue each (``supervisor/scheduler/design.md``)."""

import pytest

from protocol.ids import CallId, LeaseId, ModelId, Refusal, WorkerId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.effects import StopReason
from supervisor.scheduler.evictions.group import Group
from supervisor.scheduler.phases import IllegalTransition, Phase
from supervisor.scheduler.policies.fifo import Fifo
from tests.support.playbook import WORKER, Play, grant, rules_for, running_a, start, stop

A, B, C = ModelId("a"), ModelId("b"), ModelId("c")


def refusal(play: Play) -> tuple[Refusal, float | None]:
    (effect,) = [effect for effect in play.last if isinstance(effect, do.Refuse)]
    return effect.refusal, effect.retry_after


def test_a_request_starts_its_model_and_is_granted_when_it_is_ready() -> None:
    running_a()


def test_a_ready_model_is_granted_at_once_and_up_to_its_limit() -> None:
    play = running_a(limit=2)
    play.ask("r2", "a") << [grant("r2", 2, "a", 1)]
    play.ask("r3", "a") << []
    play.release(1) << [grant("r3", 3, "a", 1)]


def test_a_busy_model_is_not_evicted_and_an_idle_one_gives_way() -> None:
    play = running_a()
    play.ask("r2", "b") << []
    play.release(1) << [stop("a", 1)]
    play.exited("a", 1) << [start("b", 2)]
    play.ready("b", 2) << [grant("r2", 2, "b", 2)]


def test_interleaved_requests_are_collated() -> None:
    play = Play(rules_for("a", "b", "c"))
    for number, model in enumerate("abcabc"):
        play.ask(f"r{number}", model)
    play.ready("a", 1) << [grant("r0", 1, "a", 1), grant("r3", 2, "a", 1)]
    play.release(1) << []
    play.release(2) << [stop("a", 1)]
    play.exited("a", 1) << [start("b", 2)]
    play.ready("b", 2) << [grant("r1", 3, "b", 2), grant("r4", 4, "b", 2)]
    play.release(3) >> ev.LeaseReleased(LeaseId("i/L4"), play.now)
    play << [stop("b", 2)]
    play.exited("b", 2) << [start("c", 3)]
    play.ready("c", 3) << [grant("r2", 5, "c", 3), grant("r5", 6, "c", 3)]


def test_starts_that_need_no_eviction_run_beside_each_other() -> None:
    together = Group(swap=False)
    play = Play(rules_for("a", "b", groups={"a": together, "b": together}))
    play.ask("r1", "a") << [start("a", 1)]
    play.ask("r2", "b") << [start("b", 2)]


def test_a_request_arriving_while_its_model_stops_is_served_after_the_restart() -> None:
    play = running_a(ttl=10.0)
    play.release(1)
    play.after(10.0) << [stop("a", 1, StopReason.TTL)]
    play.ask("r2", "a") << []
    play.exited("a", 1) << [start("a", 2)]
    play.ready("a", 2) << [grant("r2", 2, "a", 2)]


def test_the_time_to_live_counts_from_ready_when_nobody_ever_used_the_model() -> None:
    play = Play(rules_for("a", ttl=10.0))
    play >> ev.LoadAsked(CallId("l1"), A)
    play << [start("a", 1)]
    play.now += 50.0
    play.ready("a", 1) << [do.Answer(CallId("l1"))]
    play.after(9.0) << []
    play.after(1.0) << [stop("a", 1, StopReason.TTL)]


def test_the_time_to_live_counts_from_the_last_use() -> None:
    play = running_a(ttl=10.0)
    play.now += 30.0
    play.release(1)
    play.after(9.9) << []
    play.ask("r2", "a") << [grant("r2", 2, "a", 1)]
    play.after(5.0) << []
    play.release(2) << []
    play.after(9.9) << []
    play.after(0.1) << [stop("a", 1, StopReason.TTL)]


def test_a_model_that_stops_by_ttl_is_a_free_victim() -> None:
    play = running_a(ttl=10.0)
    play.release(1)
    play.after(10.0) << [stop("a", 1, StopReason.TTL)]
    play.ask("r2", "b") << []
    assert play.core.board.models[B].phase is Phase.MAKING_ROOM
    play.exited("a", 1) << [start("b", 2)]


def test_two_starts_never_share_a_victim() -> None:
    play = running_a()
    play.release(1)
    play.ask("r2", "b") << [stop("a", 1)]
    play.ask("r3", "c") << []
    play.exited("a", 1) << [start("b", 2)]
    assert play.core.board.models[C].phase is Phase.STOPPED


def test_a_victim_of_a_plan_cannot_start_again_before_the_plan_has_ended() -> None:
    lone, beside = Group(exclusive=True), Group(exclusive=False, swap=False)
    play = Play(rules_for("a", "b", "c", groups={"a": beside, "b": lone, "c": beside}))
    play.ask("r1", "a").ready("a", 1).release(1)
    play.ask("r2", "c").ready("c", 2).release(2)
    play.ask("r3", "b") << [stop("a", 1), stop("c", 2)]
    play.exited("a", 1) << []
    play.ask("r4", "a") << []
    play.exited("c", 2) << [start("b", 3), start("a", 4)]


@pytest.mark.rule("C11.3.17")
def test_a_start_that_would_break_an_older_plan_waits_for_it() -> None:
    lone, beside = Group(exclusive=True), Group(exclusive=False, swap=False)
    play = Play(rules_for("a", "b", "c", groups={"a": beside, "b": lone, "c": beside}))
    play.ask("r1", "a").ready("a", 1).release(1)
    play.ask("r3", "b") << [stop("a", 1)]
    play.ask("r4", "c") << []
    play.exited("a", 1) << [start("b", 2), start("c", 3)]


def test_an_abandoned_start_is_aborted_only_when_it_is_in_the_way() -> None:
    play = Play(rules_for("a", "b"))
    play.ask("r1", "a") << [start("a", 1)]
    play >> ev.RequestAbandoned(CallId("r1"))
    play << []
    play.ask("r2", "b") << [stop("a", 1, StopReason.ABORTED)]
    play.ready("a", 1) << []
    play.exited("a", 1) << [start("b", 2)]


def test_a_plan_that_nobody_waits_for_is_given_up() -> None:
    play = running_a()
    play.release(1)
    play.ask("r2", "b") << [stop("a", 1)]
    play >> ev.RequestAbandoned(CallId("r2"))
    play << []
    assert play.core.board.models[B].phase is Phase.STOPPED
    play.exited("a", 1) << []


def test_abandoning_after_the_grant_ends_the_lease() -> None:
    play = running_a()
    play.ask("r2", "b") << []
    play >> ev.RequestAbandoned(CallId("r1"))
    play << [stop("a", 1)]


def test_a_lease_ends_once() -> None:
    play = running_a()
    play.release(1) << []
    play.release(1) << []
    play >> ev.RequestAbandoned(CallId("r1"))
    play << []


def test_a_lost_worker_ends_its_leases_and_its_calls() -> None:
    other = WorkerId("1.2.w")
    play = running_a()
    play.ask("r2", "a", other) << [grant("r2", 2, "a", 1, other)]
    play.ask("r3", "b") << []
    play.ask("r4", "b", other) << []
    play >> ev.WorkerLost(WORKER)
    play << []
    play >> ev.WorkerLost(other)
    play << []
    assert not play.core.board.waiters
    assert not play.core.board.leases


def test_a_crowd_beyond_limit_and_queue_is_refused() -> None:
    play = Play(rules_for("a", limit=2, queue_limit=1))
    for number in range(3):
        play.ask(f"r{number}", "a")
    play.ask("r3", "a")
    assert refusal(play) == (Refusal.OVERLOADED, 1.0)


def test_a_request_that_waits_too_long_is_refused_even_during_a_load() -> None:
    play = Play(rules_for("a", queue_timeout=30.0))
    play.ask("r1", "a")
    play.after(20.0).ask("r2", "a")
    play.after(10.0)
    assert refusal(play)[0] is Refusal.TIMED_OUT
    play.after(20.0)
    assert refusal(play)[0] is Refusal.TIMED_OUT


def test_a_callers_own_deadline_counts_when_it_is_earlier() -> None:
    play = Play(rules_for("a"))
    play >> ev.RequestArrived(CallId("r1"), A, WORKER, deadline=play.now + 2.0)
    play.after(2.0)
    assert refusal(play)[0] is Refusal.TIMED_OUT


def test_a_hot_model_does_not_fill_the_heap_of_timers() -> None:
    play = running_a(ttl=600.0)
    for number in range(2, 2000):
        play.now += 0.01
        play.ask(f"hot{number}", "a").release(number)
    assert len(play.core._timers) <= 3


def test_every_model_with_a_free_slot_is_served_in_the_same_event() -> None:
    together = Group(swap=False)
    other = WorkerId("1.2.w")
    play = Play(rules_for("a", "b", groups={"a": together, "b": together}, limit=2))
    for generation, model in enumerate("ab", 1):
        play.ask(f"{model}1", model).ready(model, generation).ask(f"{model}2", model, other).ask(
            f"{model}3", model, other
        )
    play >> ev.WorkerLost(WORKER)
    play << [grant("a3", 5, "a", 1, other), grant("b3", 6, "b", 2, other)]


def test_an_unknown_model_is_refused() -> None:
    play = Play(rules_for("a"))
    play.ask("r1", "zz")
    assert refusal(play)[0] is Refusal.UNKNOWN_MODEL
    play >> ev.LoadAsked(CallId("l"), ModelId("zz"))
    play << [do.Answer(CallId("l"), Refusal.UNKNOWN_MODEL, "there is no such model")]


def test_a_result_the_table_forbids_is_an_error_and_changes_nothing() -> None:
    play = running_a()
    with pytest.raises(IllegalTransition):
        play.ready("a", 1)
    assert play.core.board.models[A].phase is Phase.READY


def test_reported_exchanges_keep_a_model_alive() -> None:
    play = running_a(ttl=10.0)
    play.release(1)
    play.after(5.0)
    play >> ev.ExchangesReported(A, 1, 3, (0.1, 0.1, 0.1), play.now)
    play.after(5.0) << []
    play.after(5.0) << [stop("a", 1, StopReason.TTL)]


def test_two_starts_of_one_group_do_not_share_the_victim_both_need() -> None:
    pair = Group(swap=False, exclusive=True)
    play = Play(rules_for("a", "b", "c", groups={"b": pair, "c": pair}))
    play.ask("r1", "a").ready("a", 1).release(1)
    play.ask("r2", "b") << [stop("a", 1)]
    play.ask("r3", "c") << []
    assert play.core.board.models[C].phase is Phase.STOPPED
    play.exited("a", 1) << [start("b", 2), start("c", 3)]


def test_a_load_of_a_model_that_drains_for_a_claim_is_answered_when_it_serves_again() -> None:
    play = running_a()
    play.ask("r2", "b").after(60.0)
    play >> ev.LoadAsked(CallId("l"), A)
    play << []
    play >> ev.RequestAbandoned(CallId("r2"))
    play << [do.Answer(CallId("l"))]


def test_a_request_that_joins_an_abandoned_start_keeps_it() -> None:
    play = Play(rules_for("a", "b"))
    play.ask("r1", "a") >> ev.RequestAbandoned(CallId("r1"))
    play.ask("r2", "a") << []
    play.ask("r3", "b") << []
    play.ready("a", 1) << [grant("r2", 1, "a", 1)]


def test_the_index_of_ages_stays_small_under_a_policy_that_never_asks_for_the_oldest() -> None:
    play = Play(rules_for("a", "b", "c", policy=Fifo(max_wait=0.0)))
    play.ask("r1", "a").ready("a", 1)
    for number in range(200):
        call = CallId(f"again{number}")
        play.core.handle(ev.RequestArrived(call, B, WORKER), play.now)
        play.core.handle(ev.RequestArrived(CallId(f"{call}c"), C, WORKER), play.now)
        play.core.handle(ev.RequestAbandoned(call), play.now)
        assert len(play.core.board._by_age) <= 13
    oldest = play.core.board.oldest_blocked()
    assert oldest is not None
    assert oldest.call == "again0c"
