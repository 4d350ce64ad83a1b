"""Parked leases and their recall, one dialogue each (``design.md``, *Parked leases*)."""

from typing import ClassVar

from protocol.ids import CallId, LeaseId, ModelId, Refusal, WorkerId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.contracts import Choice, Claim, Nothing, Queue
from supervisor.scheduler.effects import StopReason
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.policies.fifo import Fifo
from tests.support.playbook import WORKER, Play, grant, phase, refused, rules_for, stop

A = ModelId("a")
OTHER = WorkerId("1.2.w")


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


def test_each_who_waits_asks_for_another_lease_and_for_no_more_than_there_are() -> None:
    play = Play(rules_for("a", parking=True, limit=3))
    play.ask("r1", "a").ready("a", 1).ask("r2", "a").ask("r3", "a", OTHER)
    play.ask("r4", "a") << [do.Recall(WORKER, A, 1, 1), do.Recall(OTHER, A, 1, 1)]
    # What was asked for is in use, or it would be here: the next one asks for another.
    play.ask("r5", "a") << [do.Recall(WORKER, A, 1, 1)]
    play.ask("r6", "a") << []


def test_who_came_later_waits_for_his_own_recall() -> None:
    play = Play(rules_for("a", parking=True, limit=2, queue_limit=0))
    play.ask("r1", "a").ready("a", 1).ask("r2", "a")
    play.ask("r3", "a").after(0.25).ask("r4", "a")
    play.after(0.25)
    assert refused(play) == [("r3", Refusal.OVERLOADED)]
    play.after(0.25)
    assert refused(play) == [("r4", Refusal.OVERLOADED)]


def test_a_policy_that_accounts_for_every_request_gets_no_parked_leases() -> None:
    class Accounting(Fifo):
        """Wants to be asked each time."""

        parks: ClassVar[bool] = False

    play = Play(rules_for("a", parking=True, policy=Accounting()))
    play.ask("r1", "a").ready("a", 1) << [grant("r1", 1, "a", 1)]


class Claiming(Fifo):
    """Claims at once, without trying to make way before."""

    def choose(self, queue: Queue, now: float) -> Choice:
        oldest = queue.claimable()
        return Claim(oldest.model) if oldest else Nothing()


def test_a_claim_asks_back_what_is_parked_on_its_victims() -> None:
    play = Play(rules_for("a", "b", parking=True))
    play.ask("r1", "a").ready("a", 1) << [grant("r1", 1, "a", 1, parkable=True)]
    play.reload(rules_for("a", "b", parking=True, policy=Claiming()))
    play.ask("r2", "b") << [do.Recall(WORKER, A, 1, 1)]
    assert phase(play, A) is Phase.DRAINING
    play.release(1) << [stop("a", 1)]


def test_a_reload_asks_back_what_is_parked_on_a_model_that_has_to_restart() -> None:
    play = Play(rules_for("a", parking=True))
    play.ask("r1", "a").ready("a", 1)
    play.reload(rules_for("a", parking=True), "a") << [do.Recall(WORKER, A, 1, 1)]
    play.release(1) << [stop("a", 1, StopReason.RELOADED)]


def test_exchanges_on_parked_leases_teach_how_long_one_takes_and_reach_the_policy() -> None:
    class Listening(Fifo):
        """Remembers what it observed."""

        def observe(self, event: ev.Event, now: float) -> None:
            heard.append(event)

    heard: list[ev.Event] = []
    play = Play(rules_for("a", parking=True, policy=Listening()))
    play.ask("r1", "a").ready("a", 1)
    reported = ev.ExchangesReported(A, 1, 2, (2.0, 2.0), play.now)
    play >> reported
    assert play.core.board.models[A].service.mean == 2.0
    assert heard[-1] == reported


def test_leases_are_not_parked_while_anybody_waits_for_room() -> None:
    play = Play(rules_for("a", "b", parking=True, limit=2))
    play.ask("r1", "a").ready("a", 1) << [grant("r1", 1, "a", 1, parkable=True)]
    play.ask("r2", "b").ask("r3", "a") << [grant("r3", 2, "a", 1)]


def test_a_worker_that_gave_one_of_two_parked_leases_back_is_asked_for_the_other_one_only() -> None:
    play = Play(rules_for("a", "b", parking=True))
    play.ask("r1", "a").ready("a", 1).ask("r2", "a")
    play.release(1) << []
    play.ask("r3", "b") << [do.Recall(WORKER, A, 1, 1)]


def test_a_limit_that_is_lowered_while_somebody_waits_asks_more_leases_back() -> None:
    play = Play(rules_for("a", parking=True, limit=4))
    play.ask("r1", "a").ready("a", 1).ask("r2", "a").ask("r3", "a").ask("r4", "a")
    play.ask("r5", "a") << [do.Recall(WORKER, A, 1, 1)]
    play.reload(rules_for("a", parking=True, limit=2)) << [do.Recall(WORKER, A, 1, 3)]
    play.release(1).release(2) << []
    play.release(3) << [grant("r5", 5, "a", 1, parkable=True)]
