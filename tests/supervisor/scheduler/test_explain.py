"""Each waiting request can name what it waits for."""

from collections.abc import Callable
from typing import Any

import pytest

from protocol.ids import CallId, ModelId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.contracts import Choice, MakeWay, Nothing, Queue
from supervisor.scheduler.estimates import LATEST, Learned
from supervisor.scheduler.evictions.group import Group
from supervisor.scheduler.explain import Blocker, Kind, blockers, estimate
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import Rules
from tests.support.playbook import Play, memory_rules, rules_for


def found_for(play: Play, call: str) -> tuple[Blocker, ...]:
    board = play.core.board
    return blockers(board, board.models[board.waiters[CallId(call)].model], play.now)


def why(play: Play, call: str) -> list[tuple[str, str]]:
    return [(found.kind, found.model) for found in found_for(play, call)]


def busy(policy: Fifo | None = None, **rule: Any) -> Play:
    play = Play(rules_for("a", "b", "c", policy=policy, **rule))
    return play.ask("r1", "a").ready("a", 1)


def test_who_waits_for_a_lease_a_start_a_stop_a_claim_or_a_timer_says_so() -> None:
    play = busy(limit=1)
    play.ask("r2", "a").ask("r3", "b")
    assert why(play, "r2") == [(Kind.LEASE, "a")]
    # Its claim comes with time.
    assert why(play, "r3") == [(Kind.LEASE, "a"), (Kind.TIMER, "b")]
    play.after(60.0)
    assert why(play, "r2") == [(Kind.CLAIM, "b"), (Kind.LEASE, "a")]
    assert why(play, "r3") == [(Kind.CLAIM, "b"), (Kind.LEASE, "a")]
    play.release(1)
    assert why(play, "r2") == [(Kind.STOP, "a")]
    assert why(play, "r3") == [(Kind.STOP, "a")]
    play.exited("a", 1)
    assert why(play, "r3") == [(Kind.START, "b")]
    assert why(play, "r2") == [(Kind.CLAIM, "b"), (Kind.START, "b")]


def test_a_model_that_keeps_its_room_for_a_while_is_named_with_the_time() -> None:
    play = busy(policy=Fifo(0.0, min_resident=30.0))
    play.release(1).ask("r2", "b")
    (found,) = found_for(play, "r2")
    assert (found.kind, found.model, found.until) == (Kind.TIMER, "a", play.now + 30.0)


def test_a_claim_that_waits_until_a_busy_model_has_had_its_time_names_the_time() -> None:
    play = Play(rules_for("a", "b", policy=Fifo(5.0)))
    play.ask("r1", "a")
    play.now += 20.0
    play.ready("a", 1)
    ready_at = play.now
    play.ask("r2", "b").after(5.0)
    assert why(play, "r2") == [(Kind.CLAIM, "b"), (Kind.TIMER, "a"), (Kind.LEASE, "a")]
    assert [found.until for found in found_for(play, "r2")] == [None, ready_at + 20.0, None]


def test_each_thing_in_the_way_is_named_once_and_nothing_else() -> None:
    play = Play(memory_rules({"a": 5, "b": 8, "c": 5, "d": 9}, 10))
    play.ask("r1", "a").ask("r2", "c").ready("c", 2).release(1)
    assert why(play, "r1") == [(Kind.START, "a")]
    play.ask("r3", "b")
    assert why(play, "r3") == [(Kind.START, "a"), (Kind.TIMER, "b")]
    play.ready("a", 1).release(2)
    assert why(play, "r3") == [(Kind.STOP, "a"), (Kind.STOP, "c")]
    play.ask("r4", "d")
    assert why(play, "r4") == [(Kind.PLAN, "b"), (Kind.TIMER, "d")]
    play.exited("c", 2)
    assert why(play, "r3") == [(Kind.STOP, "a")]
    play.exited("a", 1).ask("r5", "a")
    assert why(play, "r5") == [(Kind.START, "b"), (Kind.TIMER, "a")]


def test_a_drain_and_an_unload_are_named_to_who_comes_meanwhile() -> None:
    play = busy()
    play >> ev.UnloadAsked(CallId("u"), (ModelId("a"),), drain=True)
    play.ask("r2", "a")
    assert why(play, "r2") == [(Kind.STOP, "a"), (Kind.LEASE, "a")]
    play >> ev.UnloadAsked(CallId("v"), (ModelId("a"),))
    play.ask("r3", "a")
    assert why(play, "r3") == [(Kind.STOP, "a")]


def test_who_needs_the_same_victim_as_a_plan_is_told_of_both() -> None:
    pair = Group(swap=False)
    play = busy(groups={"b": pair, "c": pair})
    play.release(1).ask("r2", "b").ask("r3", "c")
    assert why(play, "r2") == [(Kind.STOP, "a")]
    assert why(play, "r3")[:2] == [(Kind.STOP, "a"), (Kind.PLAN, "b")]


class Lazy(Fifo):
    """Serves nobody, and makes way for nobody but the first."""

    def choose(self, queue: Queue, now: float) -> Choice:
        return next((MakeWay(model) for model in queue.blocked() if model == "a"), Nothing())


def test_who_waits_for_nothing_but_the_policy_says_so() -> None:
    play = Play(rules_for("a", "b", policy=Lazy()))
    play.ask("r1", "a").ready("a", 1).ask("r2", "b")
    assert why(play, "r1") == [(Kind.DECISION, "a")]
    assert why(play, "r2") == [(Kind.DECISION, "b")]


def test_many_leases_are_counted() -> None:
    play = busy(limit=50)
    for number in range(30):
        play.ask(f"more{number}", "a")
    play.ask("r2", "b")
    found = why(play, "r2")
    assert len(found) == 22
    assert found[:21] == [(Kind.LEASE, "a")] * 21


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


def test_a_long_batch_teaches_what_its_samples_do_one_by_one() -> None:
    samples = [float(number % 7) for number in range(3 * LATEST)]
    one_by_one, at_once = Learned(), Learned()
    for seconds in samples:
        one_by_one.learn(seconds)
    at_once.learn_all(samples)
    assert at_once.mean == pytest.approx(one_by_one.mean, rel=1e-4)
    assert at_once.samples == one_by_one.samples


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


def test_who_waits_for_a_model_that_cannot_run_and_was_not_tried_yet_is_told_why() -> None:
    rules = memory_rules({"a": 5, "b": 11}, 10)
    play = Play(Rules(rules.models, Lazy(), rules.eviction))
    play.ask("r1", "b")
    (found,) = found_for(play, "r1")
    assert (found.kind, found.text) == (Kind.DECISION, "model 'b' does not fit beside what there is")


def test_who_comes_while_a_model_is_stuck_beside_a_busy_one_waits_for_the_busy_one_only() -> None:
    play = Play(memory_rules({"a": 4, "b": 5, "c": 6}, 10))
    play.ask("r1", "a").ready("a", 1).ask("r2", "c").ready("c", 2)
    play >> ev.UnloadAsked(CallId("u"), (ModelId("a"),))
    play >> ev.StopOverdue(ModelId("a"), 1, 4711)
    play.ask("r3", "b")
    assert why(play, "r3") == [(Kind.LEASE, "c"), (Kind.TIMER, "b")]
