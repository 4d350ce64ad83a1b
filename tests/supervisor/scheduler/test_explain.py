"""Each waiting request can name what it waits for."""

from collections.abc import Callable
from typing import Any

import pytest

from protocol.ids import CallId, ModelId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.explain import Kind, blockers, estimate
from supervisor.scheduler.policies.fifo import Fifo
from tests.support.playbook import Play, memory_rules, rules_for


def why(play: Play, call: str) -> list[tuple[str, str]]:
    board = play.core.board
    return [(found.kind, found.model) for found in blockers(board, board.waiters[CallId(call)], play.now)]


def busy(policy: Fifo | None = None, **rule: Any) -> Play:
    play = Play(rules_for("a", "b", "c", policy=policy, **rule))
    return play.ask("r1", "a").ready("a", 1)


def test_who_waits_for_a_lease_a_start_a_stop_a_plan_a_claim_or_a_timer_says_so() -> None:
    play = busy(limit=1)
    play.ask("r2", "a").ask("r3", "b")
    assert why(play, "r2") == [(Kind.LEASE, "a")]
    assert why(play, "r3") == [(Kind.LEASE, "a")]
    play.after(60.0)
    assert why(play, "r2") == [(Kind.CLAIM, "b"), (Kind.LEASE, "a")]
    assert why(play, "r3") == [(Kind.CLAIM, "b"), (Kind.LEASE, "a")]
    play.release(1)
    assert why(play, "r2") == [(Kind.STOP, "a")]
    assert why(play, "r3") == [(Kind.STOP, "a")]
    play.exited("a", 1)
    assert why(play, "r3") == [(Kind.START, "b")]
    assert (Kind.START, "b") in why(play, "r2")


def test_a_model_that_keeps_its_room_for_a_while_is_named_with_the_time() -> None:
    play = busy(policy=Fifo(min_resident=30.0))
    play.release(1).ask("r2", "b")
    board = play.core.board
    (found,) = blockers(board, board.waiters[CallId("r2")], play.now)
    assert (found.kind, found.model, found.until) == (Kind.TIMER, "a", play.now + 30.0)


def test_many_leases_are_counted() -> None:
    play = busy(limit=50)
    for number in range(30):
        play.ask(f"more{number}", "a")
    play.ask("r2", "b")
    found = why(play, "r2")
    assert len(found) == 21


def test_a_plan_of_somebody_else_is_named() -> None:
    play = Play(memory_rules({"a": 5, "b": 10, "c": 5}, 10))
    play.ask("r1", "a").ready("a", 1).release(1)
    play.ask("r2", "b").ask("r3", "c")
    assert (Kind.PLAN, "b") in why(play, "r3")


def test_estimates_follow_what_was_learned() -> None:
    play = busy(limit=1)
    play.now += 4.0
    play.release(1)
    play.ask("r2", "a").ask("r3", "a").ask("r4", "a")
    board = play.core.board
    model = board.models[ModelId("a")]
    assert [estimate(board, model, board.waiters[CallId(call)], play.now) for call in ("r3", "r4")] == [4.0, 8.0]
    assert estimate(board, model, None, play.now) == 12.0


def test_the_estimate_of_a_blocked_request_counts_what_is_in_its_way_and_a_swap() -> None:
    play = Play(rules_for("a", "b"))
    play.ask("r1", "a")
    play.now += 20.0
    play.ready("a", 1)
    play.now += 4.0
    play.release(1).ask("r2", "a").ask("r3", "b")
    board = play.core.board
    waiter = board.waiters[CallId("r3")]
    # One exchange of a takes four seconds; b has never started, so it is taken to start as a does.
    assert estimate(board, board.models[ModelId("b")], waiter, play.now) == 24.0


def test_every_decision_is_a_note_with_its_reason() -> None:
    play = busy()
    notes: list[str] = []

    def collect() -> None:
        notes.extend(effect.text for effect in play.last if isinstance(effect, do.Note))

    steps: list[Callable[[], object]] = [
        lambda: play.ask("r2", "b"),
        lambda: play.after(60.0),
        lambda: play.release(1),
        lambda: play.exited("a", 1),
        lambda: play.ready("b", 2),
        lambda: play.release(2),
        lambda: play >> ev.LoadAsked(CallId("l"), ModelId("c")),
    ]
    for step in steps:
        step()
        collect()
    assert notes == [
        "b: waits for a",
        "b: claims room, its oldest request has waited 60 s",
        "b: a drains for it (1 leases)",
        "b: needs the room of a, which is idle",
        "a: stopped",
        "b: starts, its room is free",
        "b: ready after 0.00 s",
        "b: its claim ends: served",
        "c: needs the room of b, which is idle",
    ]


@pytest.mark.parametrize("waits", [1.0, 60.0])
def test_a_wake_up_is_asked_for_when_the_claim_will_be_due(waits: float) -> None:
    play = busy(policy=Fifo(max_wait=waits))
    play.ask("r2", "b") << [do.WakeAt(play.now + waits)]
