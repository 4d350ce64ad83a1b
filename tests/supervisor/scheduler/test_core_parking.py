"""Parked leases and their recall, one dialogue each (``design.md``, *Parked leases*)."""

from protocol.ids import CallId, LeaseId, ModelId, Refusal
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.effects import StopReason
from tests.support.playbook import (
    WORKER,
    Play,
    grant,
    refused,
    rules_for,
    stop,
)

A = ModelId("a")


def test_a_parked_lease_that_was_used_again_keeps_its_model() -> None:
    play = Play(rules_for("a", parking=True, ttl=10.0))
    play.ask("r1", "a").ready("a", 1)
    play >> ev.ExchangesReported(A, 1, 1, (0.5,), play.now)
    play.now += 6.0
    play >> ev.ExchangesReported(A, 1, 3, (0.5, 0.4, 0.6), play.now)
    play.after(4.0) << []
    play.after(6.0) << [do.Recall(WORKER, A, 1, 1)]


def test_nobody_is_refused_as_one_too_many_while_a_parked_lease_may_come_back() -> None:
    play = Play(rules_for("a", parking=True, limit=1, queue_limit=0))
    play.ask("r1", "a").ready("a", 1)
    play.ask("r2", "a") << [do.Recall(WORKER, A, 1, 1)]
    play.ask("r3", "a")
    assert refused(play) == [("r3", Refusal.OVERLOADED)]
    play.release(1) << [grant("r2", 2, "a", 1, parkable=True)]


def test_who_waited_for_a_recall_in_vain_is_refused() -> None:
    play = Play(rules_for("a", parking=True, limit=1, queue_limit=0))
    play.ask("r1", "a").ready("a", 1)
    play.ask("r2", "a") << [do.Recall(WORKER, A, 1, 1)]
    play.after(0.5)
    assert refused(play) == [("r2", Refusal.OVERLOADED)]


def test_a_blocked_request_asks_back_what_is_parked_on_the_model_in_its_way() -> None:
    play = Play(rules_for("a", "b", parking=True))
    play.ask("r1", "a").ready("a", 1)
    play.ask("r2", "b") << [do.Recall(WORKER, A, 1, 1)]
    play.ask("r3", "a") << [grant("r3", 2, "a", 1)]
    play.release(1) << []
    play.release(2) << [stop("a", 1)]


def test_an_unload_that_drains_asks_parked_leases_back_and_a_forced_one_cuts_them() -> None:
    play = Play(rules_for("a", "b", parking=True))
    play.ask("r1", "a").ready("a", 1)
    play >> ev.UnloadAsked(CallId("u"), (A,), drain=True)
    play << [do.Recall(WORKER, A, 1, 1)]
    play >> ev.UnloadAsked(CallId("v"), (A,))
    play << [do.Cut(WORKER, LeaseId("i/L1")), stop("a", 1, StopReason.UNLOADED)]


def test_reported_exchanges_of_an_older_generation_count_for_nothing() -> None:
    play = Play(rules_for("a", parking=True, ttl=10.0))
    play.ask("r1", "a").ready("a", 1)
    play >> ev.ExchangesReported(A, 7, 5, (9.0,), play.now + 50.0)
    assert play.core.board.models[A].service.samples == 0
    assert play.core.board.models[A].last_used == 0.0
