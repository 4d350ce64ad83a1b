"""The checks themselves: each kind of damage is noticed, and nothing else is."""

from collections.abc import Callable

import pytest

from protocol.ids import CallId, LeaseId, ModelId
from supervisor.scheduler import effects as do
from supervisor.scheduler.board import Board
from supervisor.scheduler.effects import StopReason
from supervisor.scheduler.invariants import InvariantBroken, check
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.state import NEVER, Plan
from tests.support.playbook import Play, grant, rules_for, start, stop

A, B, C = ModelId("a"), ModelId("b"), ModelId("c")


def in_mid_life() -> Board:
    """a serves one request, another one waits for its only slot; one waits for b; nobody wants c."""
    play = Play(rules_for("a", "b", "c", limit=1, ttl=30.0))
    play.ask("r1", "a").ready("a", 1).ask("r2", "a").ask("r3", "b")
    board = play.core.board
    check(board, play.last)
    return board


def two_plans(board: Board, *victims: set[ModelId]) -> None:
    for number, (name, taken) in enumerate(zip((B, C), victims, strict=True)):
        board.models[name].phase = Phase.MAKING_ROOM
        board.plans[name] = board.models[name].plan = Plan(name, number, taken)


def idle_and_forgotten(board: Board) -> None:
    board.models[C].phase = Phase.READY
    board.refile(board.models[C])


DAMAGE: list[tuple[str, Callable[[Board], object]]] = [
    ("the queue and its index differ", lambda board: board.waiters.popitem()),
    ("both waits and has a lease", lambda board: board.lease_of.update({CallId("r2"): LeaseId("i/L1")})),
    ("waits although we are shutting down", lambda board: setattr(board, "closing", True)),
    ("has leases and no process", lambda board: setattr(board.models[A], "phase", Phase.STOPPED)),
    ("leases of an older generation", lambda board: setattr(board.models[A], "generation", 2)),
    ("b has a plan and is stopped", lambda board: board.plans.update({B: Plan(B, 1)})),
    ("share a victim", lambda board: two_plans(board, {A}, {A})),
    ("take each other's target", lambda board: two_plans(board, {A}, {B})),
    ("when its time to live is over", idle_and_forgotten),
    ("has waited too long", lambda board: setattr(board.models[A], "deadline_timer", NEVER)),
    ("the oldest blocked request", lambda board: board._by_age.clear()),
    ("index of running models", lambda board: board.running.clear()),
    ("index of blocked models", lambda board: setattr(board.models[B], "phase", Phase.BACKING_OFF)),
    ("index of servable models", lambda board: board.servable.add(A)),
]


@pytest.mark.parametrize(("text", "damage"), DAMAGE, ids=[text for text, _ in DAMAGE])
def test_a_state_that_breaks_an_invariant_is_noticed(text: str, damage: Callable[[Board], object]) -> None:
    board = in_mid_life()
    damage(board)
    with pytest.raises(InvariantBroken, match=text):
        check(board, [])


@pytest.mark.parametrize(
    ("text", "effect"),
    [
        ("a was stopped .evicted. with leases", stop("a", 1, StopReason.EVICTED)),
        ("a was stopped .ttl. with leases", stop("a", 1, StopReason.TTL)),
        ("a was stopped .drained. with leases", stop("a", 1, StopReason.DRAINED)),
        ("a was stopped .aborted. with leases", stop("a", 1, StopReason.ABORTED)),
    ],
)
def test_a_stop_that_ends_leases_without_leave_is_noticed(text: str, effect: do.Effect) -> None:
    with pytest.raises(InvariantBroken, match=text):
        check(in_mid_life(), [effect])
    check(in_mid_life(), [stop("a", 1, StopReason.UNLOADED)])


def test_a_grant_beyond_the_limit_and_a_start_before_its_victims_have_exited_are_noticed() -> None:
    play = Play(rules_for("a", "b", limit=2))
    play.ask("r1", "a").ready("a", 1).ask("r2", "a") << [grant("r2", 2, "a", 1)]
    board = play.core.board
    board.models[A].rule = rules_for("a", limit=1).models[A]
    with pytest.raises(InvariantBroken, match="a grant raised a above its limit"):
        check(board, play.last)
    play = Play(rules_for("a", "b"))
    play.ask("r1", "a").ready("a", 1).release(1).ask("r2", "b") << [stop("a", 1)]
    with pytest.raises(InvariantBroken, match="b started while its plan waits for victims"):
        check(play.core.board, [start("b", 2)])
