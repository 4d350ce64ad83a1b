"""Unload, drain, reload and shutdown, one dialogue each (``supervisor/scheduler/design.md``, *Stopping*)."""

from protocol.ids import CallId, LeaseId, ModelId, Refusal
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.effects import StopReason
from supervisor.scheduler.evictions.group import Group
from tests.support.playbook import WORKER, Play, grant, rules_for, running_a, start, stop

A, B = (ModelId(name) for name in "ab")


def refusal(play: Play) -> tuple[Refusal, float | None]:
    (effect,) = [effect for effect in play.last if isinstance(effect, do.Refuse)]
    return effect.refusal, effect.retry_after


def test_an_unload_refuses_who_waits_cuts_the_streams_and_answers_at_the_exit() -> None:
    play = running_a(limit=1)
    play.ask("r2", "a") << []
    play >> ev.UnloadAsked(CallId("u"), (A,))
    text = "model 'a' was unloaded"
    play << [
        do.Refuse(CallId("r2"), WORKER, Refusal.UNLOADED, text),
        do.Cut(WORKER, LeaseId("i/L1")),
        stop("a", 1, StopReason.UNLOADED),
    ]
    play.ask("r3", "a") << []
    play.exited("a", 1) << [start("a", 2), do.Answer(CallId("u"))]
    play.ready("a", 2) << [grant("r3", 2, "a", 2)]


def test_an_unload_during_a_load_stops_it_and_a_late_ready_moves_nobody() -> None:
    play = Play(rules_for("a"))
    play.ask("r1", "a") << [start("a", 1)]
    play >> ev.UnloadAsked(CallId("u"))
    assert play.last[-1] == stop("a", 1, StopReason.UNLOADED) or stop("a", 1, StopReason.UNLOADED) in play.last
    play.ready("a", 1) << []
    play.ask("r2", "a") << []
    play.exited("a", 1) << [start("a", 2), do.Answer(CallId("u"))]
    play.ready("a", 1) << []
    play.ready("a", 2) << [grant("r2", 1, "a", 2)]


def test_an_unload_while_making_room_cancels_the_plan_and_answers() -> None:
    play = running_a()
    play.release(1)
    play.ask("r2", "b") << [stop("a", 1)]
    play >> ev.UnloadAsked(CallId("u"), (B,))
    play << [do.Refuse(CallId("r2"), WORKER, Refusal.UNLOADED, "model 'b' was unloaded"), do.Answer(CallId("u"))]
    play.exited("a", 1) << []


def test_an_unload_of_a_stopped_model_answers_at_once() -> None:
    play = Play(rules_for("a"))
    play >> ev.UnloadAsked(CallId("u"))
    play << [do.Answer(CallId("u"))]


def test_a_drain_refuses_nobody_and_waits_for_the_leases() -> None:
    play = running_a()
    play >> ev.UnloadAsked(CallId("u"), (A,), drain=True)
    play << []
    play.ask("r2", "a") << []
    play.release(1) << [stop("a", 1, StopReason.DRAINED)]
    play.exited("a", 1) << [start("a", 2), do.Answer(CallId("u"))]


def test_a_drain_of_a_starting_model_serves_its_waiters_first() -> None:
    play = Play(rules_for("a"))
    play.ask("r1", "a")
    play >> ev.UnloadAsked(CallId("u"), (A,), drain=True)
    play << []
    play.ready("a", 1) << [grant("r1", 1, "a", 1)]
    play.release(1) << [stop("a", 1, StopReason.DRAINED)]
    play.exited("a", 1) << [do.Answer(CallId("u"))]


def test_two_drains_are_both_answered() -> None:
    play = running_a()
    play >> ev.UnloadAsked(CallId("u1"), (A,), drain=True) >> ev.UnloadAsked(CallId("u2"), (A,), drain=True)
    play.release(1) << [stop("a", 1, StopReason.DRAINED)]
    play.exited("a", 1) << [do.Answer(CallId("u1")), do.Answer(CallId("u2"))]


def test_an_unload_of_a_model_that_does_not_die_is_answered_as_stuck() -> None:
    play = running_a()
    play >> ev.UnloadAsked(CallId("u"), (A,))
    play >> ev.StopOverdue(A, 1, 4711)
    (answer,) = [effect for effect in play.last if isinstance(effect, do.Answer)]
    assert answer.refusal is Refusal.STUCK


def test_shutdown_refuses_who_waits_lets_streams_end_and_then_answers() -> None:
    play = running_a()
    play.ask("r2", "b") << []
    play >> ev.ShutdownAsked(CallId("s"), 30.0)
    assert refusal(play)[0] is Refusal.SHUTTING_DOWN
    play.ask("r3", "a")
    assert refusal(play)[0] is Refusal.SHUTTING_DOWN
    play.release(1) << [stop("a", 1, StopReason.SHUTDOWN)]
    play.exited("a", 1) << [do.Answer(CallId("s"))]


def test_shutdown_cuts_what_outlasts_the_grace_and_a_second_one_hurries() -> None:
    play = running_a()
    play >> ev.ShutdownAsked(CallId("s"), 30.0)
    play << []
    play >> ev.ShutdownAsked(CallId("s2"), 0.0)
    play << [do.Cut(WORKER, LeaseId("i/L1")), stop("a", 1, StopReason.SHUTDOWN)]
    play.exited("a", 1) << [do.Answer(CallId("s")), do.Answer(CallId("s2"))]


def test_new_rules_keep_what_runs_drain_what_changed_and_refuse_what_is_gone() -> None:
    beside = Group(swap=False)
    groups = {"a": beside, "b": beside}
    play = Play(rules_for("a", "b", groups=groups))
    play.ask("r1", "a").ready("a", 1)
    play.ask("r2", "b").ready("b", 2)
    play >> ev.RulesChanged(rules_for("a", "c", groups=groups), frozenset({A}), drain_timeout=60.0)
    play << []
    play.ask("r3", "b")
    assert refusal(play)[0] is Refusal.UNKNOWN_MODEL
    play.ask("r4", "a") << []
    play.release(1) << [stop("a", 1, StopReason.RELOADED)]
    play.exited("a", 1)
    play.after(60.0)
    assert do.Cut(WORKER, LeaseId("i/L2")) in play.last
    play.exited("b", 2)
    assert B not in play.core.board.models


def test_a_load_that_waits_is_refused_by_an_unload() -> None:
    play = running_a()
    play >> ev.LoadAsked(CallId("l"), B)
    play >> ev.UnloadAsked(CallId("u"), (B,))
    play << [do.Answer(CallId("l"), Refusal.UNLOADED, "model 'b' was unloaded"), do.Answer(CallId("u"))]
