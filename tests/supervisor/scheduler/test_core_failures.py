"""Starts that fail, models that crash or do not die, one dialogue each (``design.md``, *Failure*)."""

from dataclasses import replace

from protocol.ids import CallId, ModelId, Refusal
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.effects import StopReason
from supervisor.scheduler.evictions.group import Group
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.state import ModelRule
from tests.support.playbook import Play, grant, memory_rules, phase, refused, rules_for, running_a, start, stop

A, B, C = (ModelId(name) for name in "abc")


def refusal(play: Play) -> tuple[Refusal, float | None]:
    (effect,) = [effect for effect in play.last if isinstance(effect, do.Refuse)]
    return effect.refusal, effect.retry_after


def test_a_failed_start_refuses_its_waiters_and_pauses() -> None:
    play = Play(rules_for("a"))
    play.ask("r1", "a")
    play >> ev.ModelStartFailed(A, 1, "exited with status 3")
    assert refusal(play) == (Refusal.START_FAILED, 1.0)
    play.exited("a", 1) << []
    assert play.core.board.models[A].phase is Phase.BACKING_OFF
    play.ask("r2", "a")
    assert refusal(play) == (Refusal.BACKING_OFF, 1.0)
    play.after(1.0) << []
    play.ask("r3", "a") << [start("a", 2)]


def test_a_model_that_dies_at_every_start_is_started_four_times_in_ten_seconds() -> None:
    play = Play(rules_for("a"))
    starts = 0
    for tick in range(100):
        play.ask(f"r{tick}", "a")
        if any(isinstance(effect, do.StartModel) for effect in play.last):
            starts += 1
            play.exited("a", starts, "exited with status 1")
        play.after(0.1)
    assert starts == 4


def test_a_failing_model_does_not_evict_a_healthy_one_while_it_pauses() -> None:
    play = running_a()
    play.release(1)
    play.ask("r2", "b") << [stop("a", 1)]
    play.exited("a", 1) << [start("b", 2)]
    play.exited("b", 2, "exited with status 1")
    play.ask("r3", "a") << [start("a", 3)]
    play.ready("a", 3).release(2)
    play.ask("r4", "b")
    assert refusal(play)[0] is Refusal.BACKING_OFF
    assert play.core.board.models[A].phase is Phase.READY


def test_the_first_crash_of_a_ready_model_costs_no_pause_and_keeps_its_waiters() -> None:
    play = running_a(limit=1)
    play.ask("r2", "a") << []
    play.exited("a", 1, "was killed by SIGKILL") << [start("a", 2)]
    play.ready("a", 2) << [grant("r2", 2, "a", 2)]
    play.exited("a", 2, "was killed by SIGKILL") << []
    assert play.core.board.models[A].phase is Phase.BACKING_OFF


def test_sixty_ready_seconds_and_a_reset_clear_the_account() -> None:
    play = running_a()
    play.exited("a", 1) << []
    play.ask("r2", "a") << [start("a", 2)]
    play.ready("a", 2)
    play.now += 60.0
    play.exited("a", 2) << []
    assert play.core.board.models[A].phase is Phase.STOPPED
    play.ask("r3", "a").exited("a", 3)
    assert play.core.board.models[A].phase is Phase.BACKING_OFF
    play >> ev.ResetAsked(CallId("x"), A)
    play << [do.Answer(CallId("x"))]
    play.ask("r4", "a") << [start("a", 4)]


def test_a_victim_that_does_not_die_refuses_who_needs_its_room_and_itself() -> None:
    play = running_a()
    play.release(1)
    play.ask("r2", "b") << [stop("a", 1)]
    play >> ev.StopOverdue(A, 1, 4711)
    assert refusal(play)[0] is Refusal.STUCK
    play.ask("r3", "a")
    assert refusal(play)[0] is Refusal.STUCK
    play.ask("r4", "c")
    (refused,) = [effect for effect in play.last if isinstance(effect, do.Refuse)]
    assert "4711" in refused.text
    play.exited("a", 1) << []
    play.ask("r5", "c") << [start("c", 2)]


def test_an_exit_that_was_asked_for_never_counts_as_a_failure() -> None:
    play = running_a(ttl=1.0)
    play.release(1)
    for generation in (1, 2, 3):
        play.after(1.0) << [stop("a", generation, StopReason.TTL)]
        play.exited("a", generation, "was killed by SIGTERM")
        assert play.core.board.models[A].phase is Phase.STOPPED
        assert play.core.board.models[A].failures.failures == 0
        play.ask(f"again{generation}", "a") << [start("a", generation + 1)]
        play.ready("a", generation + 1).release(generation + 1)


def test_late_results_of_other_generations_move_nobody_whatever_they_are() -> None:
    play = running_a()
    for event in (ev.ModelStartFailed(A, 7, "no"), ev.StopOverdue(A, 7, 1), ev.ModelReady(ModelId("z"), 1)):
        play >> event
        play << []
    assert play.core.board.models[A].phase is Phase.READY


def test_a_reset_of_an_unknown_model_is_refused() -> None:
    play = Play(rules_for("a"))
    play >> ev.ResetAsked(CallId("q"), ModelId("z"))
    play << [do.Answer(CallId("q"), Refusal.UNKNOWN_MODEL, "there is no such model")]


def test_a_failure_to_start_that_crosses_an_unload_is_no_failure() -> None:
    play = Play(rules_for("a"))
    play.ask("r1", "a") >> ev.UnloadAsked(CallId("u"))
    play >> ev.ModelStartFailed(A, 1, "was killed")
    play << []
    play.exited("a", 1) << [do.Answer(CallId("u"))]
    assert phase(play, A) is Phase.STOPPED


def test_a_reset_of_a_model_that_does_not_pause_is_answered_and_forgets_its_failures() -> None:
    play = running_a()
    play.exited("a", 1)
    play >> ev.ResetAsked(CallId("x"), A)
    play << [do.Answer(CallId("x"))]
    play.ask("r2", "a").ready("a", 2).exited("a", 2)
    assert phase(play, A) is Phase.STOPPED


def test_pauses_double_up_to_a_minute() -> None:
    play = Play(rules_for("a"))
    pauses = []
    for generation in range(1, 10):
        play.ask(f"r{generation}", "a") >> ev.ModelStartFailed(A, generation, "no")
        ((_, pause),) = [refusal(play)]
        pauses.append(pause)
        play.exited("a", generation).after(pause or 0.0)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_an_exit_within_a_minute_of_ready_pauses_only_after_another_failure() -> None:
    play = running_a()
    for seconds, expected in ((30.0, Phase.STOPPED), (59.0, Phase.BACKING_OFF), (60.0, Phase.STOPPED)):
        play.now += seconds
        play.exited("a", play.core.board.models[A].generation)
        assert phase(play, A) is expected
        play.after(1.0).ask(f"again{seconds}", "a").ready("a", play.core.board.models[A].generation)


def test_the_end_of_a_pause_that_was_reset_does_not_end_the_next_one() -> None:
    play = Play(rules_for("a"))
    play.ask("r1", "a").exited("a", 1, "no")
    play.after(0.5) >> ev.ResetAsked(CallId("x"), A)
    play.ask("r2", "a").exited("a", 2, "no")
    play.after(0.5)
    assert phase(play, A) is Phase.BACKING_OFF
    play.after(0.5)
    assert phase(play, A) is Phase.STOPPED


def test_who_has_another_way_waits_for_it_although_a_model_is_stuck() -> None:
    play = Play(memory_rules({"a": 4, "b": 5, "c": 6}, 10))
    play.ask("r1", "a").ready("a", 1).ask("r2", "c").ready("c", 2)
    play >> ev.UnloadAsked(CallId("u"), (A,))
    play >> ev.StopOverdue(A, 1, 4711)
    play.ask("r3", "b") << []
    play.release(2) << [stop("c", 2)]
    play.exited("c", 2) << [start("b", 3)]


def test_a_stuck_model_that_is_in_nobodys_way_refuses_nobody() -> None:
    aside = Group(swap=False, exclusive=False, persistent=True)
    rules = rules_for("a", "b", "c", groups={"a": aside})
    play = Play(replace(rules, models={**rules.models, C: ModelRule(pinned=True)}))
    play.ask("r1", "a").ready("a", 1).ask("r2", "c").ready("c", 2).release(2)
    play >> ev.UnloadAsked(CallId("u"), (A,))
    play >> ev.StopOverdue(A, 1, 4711)
    play.ask("r3", "b") << []
    assert play.core.board.models[B].blocked_by == {C}


def test_a_stuck_model_still_runs_and_is_no_victim_until_it_exits_after_all() -> None:
    play = running_a()
    play >> ev.UnloadAsked(CallId("u"), (A,))
    play >> ev.StopOverdue(A, 1, 4711)
    assert A in play.core.board.running
    play >> ev.StopOverdue(A, 1, 4711)
    play << []
    play.ask("r2", "b")
    assert refused(play) == [("r2", Refusal.STUCK)]
    play.exited("a", 1) << []
    assert phase(play, A) is Phase.STOPPED
    play.ask("r3", "a") << [start("a", 2)]
