"""Parked leases in the core: who looks busy and may be idle, and what new rules and exits leave of them."""

from protocol.ids import CallId, LeaseId, ModelId, WorkerId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.effects import StopReason
from supervisor.scheduler.evictions.memory import Memory
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import ModelRule, Rules
from tests.support.examples import example
from tests.support.playbook import WORKER, Play, grant, rules_for, start, stop

A, B, C = ModelId("a"), ModelId("b"), ModelId("c")
OTHER = WorkerId("1.2.w")


def pairs() -> Rules:
    """Three models of which two fit; a is cheap to lose, b is dear."""
    needs = {model: {"gpu": 5} for model in (A, B, C)}
    rules = {model: ModelRule() for model in needs}
    return Rules(rules, Fifo(), Memory({"gpu": 10}, needs, {B: 5}), parking=True)


def both_parked() -> Play:
    """b was used before a, each by a worker of its own; both workers keep their leases."""
    play = Play(pairs())
    play.ask("r1", "b", OTHER).ready("b", 1) << [grant("r1", 1, "b", 1, OTHER, parkable=True)]
    play.ask("r2", "a").ready("a", 2) << [grant("r2", 2, "a", 2, parkable=True)]
    return play


def test_among_parked_models_the_eviction_rule_chooses_and_not_the_worker_that_answers_first() -> None:
    play = both_parked()
    play.ask("r3", "c") << [do.Recall(WORKER, A, 2, 1)]
    play.release(2) << [stop("a", 2)]


def test_a_parked_model_goes_before_an_idle_one_that_is_dearer() -> None:
    play = both_parked()
    play.release(1)
    play.ask("r3", "c") << [do.Recall(WORKER, A, 2, 1)]
    play.release(2) << [stop("a", 2)]


def test_one_that_does_not_give_its_lease_back_at_once_is_in_use_and_the_next_best_goes() -> None:
    play = both_parked()
    play.release(1)
    play.ask("r3", "c") << [do.Recall(WORKER, A, 2, 1)]
    play.after(0.04) << []
    play.after(0.02) << [stop("b", 1)]


def test_when_nobody_gives_back_at_once_all_in_the_way_are_asked_and_the_first_to_end_goes() -> None:
    play = both_parked()
    play.ask("r3", "c") << [do.Recall(WORKER, A, 2, 1)]
    play.after(0.06) << [do.Recall(OTHER, B, 1, 1)]
    play.after(0.06) << []
    play.release(1) << [stop("b", 1)]


def test_an_exit_asks_parked_leases_back_because_nothing_else_tells_the_workers() -> None:
    play = Play(rules_for("a", parking=True))
    play.ask("r1", "a").ready("a", 1)
    play.exited("a", 1) << [do.Recall(WORKER, A, 1, 1)]
    play.release(1) << []
    assert not play.core.board.leases


def test_a_lowered_limit_asks_as_many_leases_back_as_who_waits_needs() -> None:
    play = Play(rules_for("a", parking=True, limit=4))
    play.ask("r1", "a").ready("a", 1)
    for number in (2, 3, 4):
        play.ask(f"r{number}", "a") << [grant(f"r{number}", number, "a", 1, parkable=True)]
    play >> ev.RulesChanged(rules_for("a", parking=True, limit=2))
    play << []
    play.ask("r5", "a", OTHER) << [do.Recall(WORKER, A, 1, 3)]
    play.release(1).release(2) << []
    play.release(3) << [grant("r5", 5, "a", 1, OTHER, parkable=True)]


def test_a_policy_that_keeps_accounts_gets_every_parked_lease_back_when_it_takes_over() -> None:
    play = Play(rules_for("a", parking=True))
    play.ask("r1", "a").ready("a", 1)
    play >> ev.RulesChanged(rules_for("a", parking=True, policy=example("strict").Strict()))
    play << [do.Recall(WORKER, A, 1, 1)]
    play.ask("r2", "a") << [grant("r2", 2, "a", 1)]


def test_a_worker_that_is_lost_takes_its_parked_leases_with_it() -> None:
    play = Play(rules_for("a", "b", parking=True, limit=1))
    play.ask("r1", "a").ready("a", 1)
    play.ask("r2", "a", OTHER) << [do.Recall(WORKER, A, 1, 1)]
    play >> ev.WorkerLost(WORKER)
    play << [grant("r2", 2, "a", 1, OTHER, parkable=True)]


def test_a_shutdown_asks_parked_leases_back_and_stops_when_they_have_come() -> None:
    play = Play(rules_for("a", parking=True))
    play.ask("r1", "a").ready("a", 1)
    play >> ev.ShutdownAsked(CallId("s"), 60.0)
    play << [do.Recall(WORKER, A, 1, 1)]
    play >> ev.LeaseReleased(LeaseId("i/L1"), play.now)
    play << [stop("a", 1, StopReason.SHUTDOWN)]


def test_a_claim_asks_back_what_is_parked_on_its_victims() -> None:
    play = Play(rules_for("a", "b", parking=True, policy=Fifo(5.0)))
    play.ask("r1", "a").ready("a", 1)
    play.ask("r2", "b") << [do.Recall(WORKER, A, 1, 1)]
    # In use, and what is granted meanwhile may not be kept.
    play.ask("r3", "a") << [grant("r3", 2, "a", 1)]
    play.release(1)
    play.after(5.0)
    assert play.core.board.claim is not None
    play.ask("r4", "a") << []
    play.release(2) << [stop("a", 1)]
    play.exited("a", 1) << [start("b", 2)]


def test_a_lease_that_was_asked_back_and_is_in_use_does_not_spare_another_worker_the_question() -> None:
    play = Play(rules_for("a", parking=True, limit=2))
    play.ask("r1", "a").ready("a", 1).ask("r2", "a")
    play.ask("r3", "a") << [do.Recall(WORKER, A, 1, 1)]
    play.release(1) << [grant("r3", 3, "a", 1, parkable=True)]
    play.release(2)
    play.ask("r4", "a", OTHER) << [grant("r4", 4, "a", 1, OTHER, parkable=True)]
    # The first worker has still one of its two to give back, and uses it; the other may have parked its own.
    play.ask("r5", "a") << [do.Recall(WORKER, A, 1, 1), do.Recall(OTHER, A, 1, 1)]
    play.release(4) << [grant("r5", 5, "a", 1, parkable=True)]
    play.ask("r6", "a", OTHER) << [do.Recall(WORKER, A, 1, 1)]
