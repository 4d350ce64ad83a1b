"""What went wrong in schedulers of this kind, one dialogue each: no lost wake-up, no double stop, nobody forgotten."""

import pytest

from protocol.ids import CallId, LeaseId, ModelId, Refusal, WorkerId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.effects import StopReason
from supervisor.scheduler.evictions.group import Group
from supervisor.scheduler.phases import Phase
from tests.support.playbook import (
    WORKER,
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

A, B, C, D = (ModelId(name) for name in "abcd")
OTHER = WorkerId("1.2.w")


def test_a_request_arriving_while_its_model_stops_by_ttl_is_served_after_the_restart() -> None:
    play = running_a(ttl=10.0)
    play.release(1).after(10.0) << [stop("a", 1, StopReason.TTL)]
    play.ask("r2", "a") << []
    play.exited("a", 1) << [start("a", 2)]
    play.ready("a", 2) << [grant("r2", 2, "a", 2)]


def test_a_request_arriving_while_its_model_is_unloaded_is_served_after_the_restart() -> None:
    play = running_a()
    play >> ev.UnloadAsked(CallId("u"), (A,))
    play.ask("r2", "a") << []
    play.exited("a", 1) << [start("a", 2), do.Answer(CallId("u"))]
    play.ready("a", 2) << [grant("r2", 2, "a", 2)]


def test_a_request_arriving_while_its_model_is_evicted_queues_behind_the_plan() -> None:
    play = running_a()
    play.release(1).ask("r2", "b") << [stop("a", 1)]
    play.ask("r3", "a") << []
    play.exited("a", 1) << [start("b", 2)]
    play.ready("b", 2) << [grant("r2", 2, "b", 2)]
    play.release(2) << [stop("b", 2)]
    play.exited("b", 2) << [start("a", 3)]


def test_an_unload_while_making_room_cancels_the_plan_and_answers() -> None:
    play = running_a()
    play.release(1).ask("r2", "b")
    play >> ev.UnloadAsked(CallId("u"), (B,))
    assert refused(play) == [("r2", Refusal.UNLOADED)]
    assert do.Answer(CallId("u")) in play.last
    assert phase(play, B) is Phase.STOPPED
    play.exited("a", 1) << []


def test_a_ready_that_was_queued_behind_its_unload_moves_nobody() -> None:
    play = Play(rules_for("a", "b"))
    play.ask("r1", "a")
    play >> ev.UnloadAsked(CallId("u"), (A,))
    play.ready("a", 1) << []
    assert phase(play, A) is Phase.STOPPING
    play.exited("a", 1) << [do.Answer(CallId("u"))]


def test_a_health_timeout_with_the_process_still_dying_starts_nothing_before_its_exit() -> None:
    play = Play(rules_for("a", "b"))
    play.ask("r1", "a") >> ev.ModelStartFailed(A, 1, "not ready in 120 s")
    assert refused(play) == [("r1", Refusal.START_FAILED)]
    play.ask("r2", "b") << []
    play.exited("a", 1) << [start("b", 2)]


def test_the_result_of_an_aborted_start_arriving_after_a_new_start_moves_nobody() -> None:
    play = Play(rules_for("a", "b"))
    play.ask("r1", "a") >> ev.RequestAbandoned(CallId("r1"))
    play.ask("r2", "b") << [stop("a", 1, StopReason.ABORTED)]
    play.ask("r3", "a")
    play.exited("a", 1) << [start("b", 2)]
    play.ready("b", 2).release(1)
    play.exited("b", 2) << [start("a", 3)]
    play.ready("a", 1) << []
    assert phase(play, A) is Phase.STARTING
    play >> ev.ModelExited(A, 1, "late")
    assert phase(play, A) is Phase.STARTING
    play.ready("a", 3) << [grant("r3", 2, "a", 3)]


def test_a_busy_model_is_never_evicted() -> None:
    play = running_a(limit=2)
    play.ask("r2", "a").ask("r3", "b") << []
    play.release(1) << []
    play.release(2) << [stop("a", 1)]


def test_two_swaps_that_share_a_victim_go_one_after_the_other() -> None:
    together = Group(swap=False)
    rules = rules_for("a", "b", "c", groups={"b": together, "c": together})
    play = Play(rules)
    play.ask("r1", "a").ready("a", 1)
    play.ask("r2", "b").ask("r3", "c") << []
    play.release(1) << [stop("a", 1)]
    play.exited("a", 1) << [start("b", 2), start("c", 3)]


def test_a_victim_that_crashes_during_the_drain_makes_room_all_the_same() -> None:
    play = running_a()
    play.ask("r2", "b").after(60.0)
    assert phase(play, A) is Phase.DRAINING
    play.exited("a", 1, "was killed by SIGSEGV") << [start("b", 2)]
    play.ready("b", 2) << [grant("r2", 2, "b", 2)]
    play.release(1) << []


def test_an_unload_during_a_load_stops_it_and_refuses_who_waits() -> None:
    play = Play(rules_for("a", "b"))
    play.ask("r1", "a") >> ev.UnloadAsked(CallId("u"), (A,))
    assert refused(play) == [("r1", Refusal.UNLOADED)]
    assert stop("a", 1, StopReason.UNLOADED) in play.last
    play.exited("a", 1) << [do.Answer(CallId("u"))]
    assert play.core.board.models[A].failures.failures == 0


def test_the_cancel_of_the_only_waiter_leaves_the_start_until_it_is_in_the_way() -> None:
    play = Play(rules_for("a", "b"))
    play.ask("r1", "a") >> ev.RequestAbandoned(CallId("r1"))
    play << []
    play.ask("r2", "b") << [stop("a", 1, StopReason.ABORTED)]


def test_a_cancel_that_crosses_the_grant_ends_the_lease() -> None:
    play = running_a()
    play >> ev.RequestAbandoned(CallId("r1"))
    assert not play.core.board.leases
    play.release(1) << []
    play.ask("r2", "b") << [stop("a", 1)]


def test_the_last_lease_released_by_a_dying_worker_lets_the_next_one_in() -> None:
    play = running_a()
    play.ask("r2", "b", OTHER) << []
    play >> ev.WorkerLost(WORKER)
    play << [stop("a", 1)]
    play.release(1) << []
    play.exited("a", 1) << [start("b", 2)]


def test_a_victim_that_does_not_die_refuses_who_needs_its_room() -> None:
    play = running_a()
    play.release(1).ask("r2", "b") << [stop("a", 1)]
    play >> ev.StopOverdue(A, 1, 4711)
    assert refused(play) == [("r2", Refusal.STUCK)]
    play.ask("r3", "c")
    assert refused(play) == [("r3", Refusal.STUCK)]
    play.exited("a", 1).ask("r4", "c") << [start("c", 2)]


def test_who_can_go_another_way_is_not_refused_for_a_victim_that_does_not_die() -> None:
    play = Play(matrix_rules({"one": "a & c", "two": "b & c"}, "abc"))
    play.ask("r1", "a").ready("a", 1).release(1)
    play.ask("r2", "b") << [stop("a", 1)]
    play >> ev.StopOverdue(A, 1, 4711)
    assert refused(play) == [("r2", Refusal.STUCK)]
    play.ask("r3", "c") << [start("c", 2)]


def test_a_model_that_can_never_start_is_refused_and_evicts_nobody() -> None:
    play = Play(memory_rules({"a": 4, "b": 11}, 10))
    play.ask("r1", "a").ready("a", 1).release(1)
    play.ask("r2", "b")
    assert refused(play) == [("r2", Refusal.IMPOSSIBLE)]
    assert phase(play, A) is Phase.READY


def test_the_time_to_live_asks_parked_leases_back_before_it_stops_their_model() -> None:
    play = Play(rules_for("a", parking=True, ttl=10.0))
    play.ask("r1", "a").ready("a", 1) << [grant("r1", 1, "a", 1, parkable=True)]
    play >> ev.ExchangesReported(A, 1, 1, (0.5,), play.now)
    used = play.now
    play.after(10.0) << [do.Recall(WORKER, A, 1, 1)]
    play >> ev.LeaseReleased(LeaseId("i/L1"), used)
    play << [do.WakeAt(used + 10.0)]
    play.after(0.0) << [stop("a", 1, StopReason.TTL)]


def test_a_reload_that_removes_a_model_with_waiters_refuses_them_as_unknown() -> None:
    play = running_a()
    play.ask("r2", "b")
    play.reload(rules_for("a", "c"))
    assert refused(play) == [("r2", Refusal.UNKNOWN_MODEL)]
    assert B not in play.core.board.models


def test_a_reload_that_lowers_a_limit_binds_at_the_next_grant() -> None:
    play = running_a(limit=3)
    play.ask("r2", "a").ask("r3", "a")
    play.reload(rules_for("a", "b", "c", limit=1))
    play.ask("r4", "a") << []
    play.release(1) << []
    play.release(2) << []
    play.release(3) << [grant("r4", 4, "a", 1)]


@pytest.mark.rule("C11.3.11", "C14.12")
def test_a_reload_that_forbids_a_running_pair_leaves_it_until_the_next_decision() -> None:
    together = Group(swap=False)
    play = Play(rules_for("a", "b", groups={"a": together, "b": together}))
    play.ask("r1", "a").ask("r2", "b").ready("a", 1).ready("b", 2)
    play.reload(rules_for("a", "b"))
    play << []
    play.release(1).release(2)
    play.ask("r3", "a") << [grant("r3", 3, "a", 1)]
    play.ask("r4", "b") << [grant("r4", 4, "b", 2)]


def test_a_reload_that_makes_two_plans_under_way_conflict_keeps_the_older_one() -> None:
    pair, other = Group(swap=True, exclusive=False), Group(swap=True, exclusive=False)
    play = Play(rules_for("a", "b", "c", "d", groups={"a": pair, "b": pair, "c": other, "d": other}))
    play.ask("r1", "a").ready("a", 1).release(1)
    play.ask("r2", "c").ready("c", 2).release(2)
    play.ask("r3", "b") << [stop("a", 1)]
    play.ask("r4", "d") << [stop("c", 2)]
    play.reload(rules_for("a", "b", "c", "d"))
    assert (phase(play, B), phase(play, D)) == (Phase.MAKING_ROOM, Phase.STOPPED)
    play.exited("a", 1) << []
    play.exited("c", 2) << [start("b", 3)]
    play.ready("b", 3) << [grant("r3", 3, "b", 3)]
    play.release(3) << [stop("b", 3)]
    play.exited("b", 3) << [start("d", 4)]


def test_two_drains_are_both_answered() -> None:
    play = running_a()
    play >> ev.UnloadAsked(CallId("u1"), (A,), drain=True)
    play >> ev.UnloadAsked(CallId("u2"), (A,), drain=True)
    play.release(1) << [stop("a", 1, StopReason.DRAINED)]
    play.exited("a", 1) << [do.Answer(CallId("u1")), do.Answer(CallId("u2"))]


def test_recomputed_victims_never_evict_a_second_model_while_the_first_is_stopping() -> None:
    play = Play(memory_rules({"a": 5, "b": 5, "c": 5}, 10))
    play.ask("r1", "a").ready("a", 1).release(1)
    play.now += 5.0
    play.ask("r2", "c").ready("c", 2).release(2)
    play.ask("r3", "b") << [stop("a", 1)]
    # c would be the better choice by now if both lived.
    play.now += 5.0
    play.ask("r4", "c") << [grant("r4", 3, "c", 2)]
    play.release(3) << []
    play >> ev.LoadAsked(CallId("l"), C)
    play << [do.Answer(CallId("l"))]
    play.exited("a", 1) << [start("b", 3)]
    assert phase(play, C) is Phase.READY


def test_recomputed_sets_never_evict_a_second_model_while_the_first_is_stopping() -> None:
    play = Play(matrix_rules({"one": "a & c", "two": "b & c", "three": "a & b"}, "abc"))
    play.ask("r1", "a").ready("a", 1).release(1)
    play.ask("r2", "c").ready("c", 2).release(2)
    play.ask("r3", "b")
    assert [effect.model for effect in play.last if isinstance(effect, do.StopModel)] == [A]
    play.ask("r4", "c").release(3) << []
    play.exited("a", 1) << [start("b", 3)]


def test_a_parked_lease_idle_beside_a_busy_one_is_asked_back_when_another_worker_needs_a_slot() -> None:
    play = Play(rules_for("a", parking=True, limit=2))
    play.ask("r1", "a").ready("a", 1) << [grant("r1", 1, "a", 1, parkable=True)]
    play.ask("r2", "a", OTHER) << [grant("r2", 2, "a", 1, OTHER, parkable=True)]
    # Which of the two is idle, nobody knows here: both workers are asked.
    play.ask("r3", "a", OTHER) << [do.Recall(WORKER, A, 1, 1), do.Recall(OTHER, A, 1, 1)]
    play.release(1) << [grant("r3", 3, "a", 1, OTHER, parkable=True)]


def test_retry_after_is_an_estimate_from_the_queue_and_what_was_learned() -> None:
    play = Play(rules_for("a", limit=2, queue_limit=2))
    play.ask("r1", "a")
    play.now += 30.0
    play.ready("a", 1)
    play.now += 8.0
    play.release(1)
    for call in range(2, 6):
        play.ask(f"r{call}", "a")
    play.ask("r6", "a")
    (effect,) = [effect for effect in play.last if isinstance(effect, do.Refuse)]
    # Four are ahead, two at a time, eight seconds each: three leases have to end first.
    assert effect.retry_after == 12.0
