"""What policies and eviction rules may not answer is not done, and noted (``supervisor/scheduler/contracts.py``)."""

from collections.abc import Mapping

import pytest

from protocol.ids import CallId, ModelId, WorkerId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.contracts import (
    Blocked,
    Choice,
    Claim,
    Evict,
    MakeWay,
    Nothing,
    Queue,
    Serve,
    Standing,
    Verdict,
)
from supervisor.scheduler.core import Core
from supervisor.scheduler.effects import StopReason
from supervisor.scheduler.evictions.group import Groups
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import Rules
from tests.support.playbook import Play, grant, rules_for, start, stop

A, B, C = ModelId("a"), ModelId("b"), ModelId("c")


class Greedy(Fifo):
    """Serves more than there is room for."""

    def choose(self, queue: Queue, now: float) -> Choice:
        match super().choose(queue, now):
            case Serve(model, _):
                return Serve(model, 99)
            case choice:
                return choice


def test_the_limit_binds_at_the_grant_whatever_the_policy_says() -> None:
    rules = rules_for("a", limit=1)
    play = Play(Rules(rules.models, Greedy(), rules.eviction))
    play.ask("r1", "a").ask("r2", "a")
    play.ready("a", 1) << [grant("r1", 1, "a", 1)]


class Repetitive(Fifo):
    """Names the same model for ever."""

    def choose(self, queue: Queue, now: float) -> Choice:
        return MakeWay(A) if queue.claimable() else Nothing()


def test_a_policy_that_answers_nonsense_is_noted_and_nothing_is_done() -> None:
    rules = rules_for("a", "b")
    play = Play(Rules(rules.models, Repetitive(), rules.eviction), mistakes=True)
    play.ask("r1", "b")
    play << [do.Note("the policy makes way for 'a', which is stopped, or unwanted", "error")]
    play.ask("r2", "a")
    assert play.last[-1] == do.Note("the policy named 'a' twice during one event", "error")


class Stubborn(Fifo):
    """Serves a model that is stopped, whenever somebody waits for it."""

    def choose(self, queue: Queue, now: float) -> Choice:
        return Serve(A, 1) if queue.claimable() else Nothing()


def test_a_policy_that_repeats_its_mistake_is_not_asked_again_before_the_next_event() -> None:
    rules = rules_for("a")
    core = Core(Rules(rules.models, Stubborn(), rules.eviction), "i")
    for number in range(2):
        effects = core.handle(ev.RequestArrived(CallId(f"r{number}"), A, WorkerId("w")), float(number))
        assert do.Note("the policy serves 'a', which is stopped", "error") in effects
        woken = [effect.when for effect in effects if isinstance(effect, do.WakeAt)]
        assert all(when is None or when > number for when in woken), woken


class Idle(Fifo):
    """Never serves a ready model."""

    def choose(self, queue: Queue, now: float) -> Choice:
        return next((MakeWay(model) for model in queue.blocked()), Nothing())


def test_requests_that_a_policy_lets_wait_neither_hold_their_model_nor_stop_its_time_to_live() -> None:
    rules = rules_for("a", "b", ttl=10.0)
    play = Play(Rules(rules.models, Idle(), rules.eviction))
    play.ask("r1", "a").ready("a", 1) << []
    play.after(10.0) << []
    play >> ev.RequestAbandoned(CallId("r1"))
    play.after(0.0) << [stop("a", 1, StopReason.TTL)]
    play.exited("a", 1).ask("r2", "a").ready("a", 2)
    play.ask("r3", "b") << [stop("a", 2)]


class Scripted(Fifo):
    """Gives one answer, once."""

    answers: list[Choice]

    def choose(self, queue: Queue, now: float) -> Choice:
        assert all(queue.phase(waiting.model) for waiting in queue.in_arrival_order())
        assert [waiting.model for waiting in queue.waiting(B)] in ([], [B])
        return self.answers.pop() if self.answers else Nothing()


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ([Serve(B, 1)], "the policy serves 'b', which is stopped"),
        ([Serve(ModelId("z"), 1)], "the policy named 'z', which does not exist"),
        ([MakeWay(A)], "the policy makes way for 'a', which is ready, or unwanted"),
        ([MakeWay(C)], "the policy makes way for 'c', which is stopped, or unwanted"),
        ([Claim(C)], "the policy claims 'c', which is stopped, or unwanted"),
        ([Claim(B), Claim(B)], "the policy claims 'b' while the claim of 'b' stands"),
        ([MakeWay(B), MakeWay(B)], "the policy named 'b' twice during one event"),
    ],
)
def test_each_answer_that_the_contract_forbids_is_noted_with_its_reason(answers: list[Choice], text: str) -> None:
    rules = rules_for("a", "b", "c")
    policy = Scripted()
    object.__setattr__(policy, "answers", [MakeWay(A)])
    play = Play(Rules(rules.models, policy, rules.eviction), mistakes=True)
    play.ask("r1", "a")
    policy.answers.append(Serve(A, 1))
    play.ready("a", 1) << [grant("r1", 1, "a", 1)]
    policy.answers.extend(answers)
    play.ask("r2", "b")
    assert do.Note(text, "error") in play.last


class Mute(Fifo):
    """Answers with nothing at all."""

    def choose(self, queue: Queue, now: float) -> Choice:
        return None  # type: ignore[return-value]


def test_an_answer_that_is_no_choice_is_noted() -> None:
    rules = rules_for("a")
    play = Play(Rules(rules.models, Mute(), rules.eviction), mistakes=True)
    play.ask("r1", "a") << [do.Note("the policy 'fifo' answered None, which is no choice", "error")]


class Counted(Fifo):
    """Counts how often it is asked."""

    asked: list[float]

    def choose(self, queue: Queue, now: float) -> Choice:
        self.asked.append(now)
        return super().choose(queue, now)


def test_a_policy_is_not_asked_during_shutdown_for_then_nobody_waits() -> None:
    rules = rules_for("a", "b")
    policy = Counted()
    object.__setattr__(policy, "asked", [])
    play = Play(Rules(rules.models, policy, rules.eviction))
    play.ask("r1", "a").ask("r2", "b").ready("a", 1)
    policy.asked.clear()
    play >> ev.ShutdownAsked(CallId("s"), 5.0)
    play.ask("r3", "a").release(1).exited("a", 1).after(10.0)
    assert not policy.asked
    assert not play.core.board.running


class Mistaken(Groups):
    """Gives one verdict, whatever the question."""

    verdict: Verdict

    def victims(self, target: ModelId, standing: Mapping[ModelId, Standing], *, allow_busy: bool) -> Verdict:
        return self.verdict if target == B else super().victims(target, standing, allow_busy=allow_busy)


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        (Evict(frozenset({A})), "evicts 'a', which is busy"),
        (Evict(frozenset({C})), "names 'c', which does not run"),
        (Evict(frozenset({ModelId("z")})), "names 'z', which does not run"),
        (Blocked(frozenset({ModelId("z")})), "names 'z', which does not run"),
    ],
)
def test_a_verdict_that_the_contract_forbids_evicts_nobody_and_is_noted(verdict: Verdict, text: str) -> None:
    rule = Mistaken()
    rule.verdict = verdict
    rules = rules_for("a", "b", "c")
    play = Play(Rules(rules.models, rules.policy, rule), mistakes=True)
    play.ask("r1", "a").ready("a", 1)
    play.ask("r2", "b") << []
    assert do.Note(f"the eviction rule 'group' {text}", "error") in play.last
    rule.verdict = Evict(frozenset({A}))
    play.release(1) << [stop("a", 1)]
    rule.verdict = Evict()
    play.exited("a", 1) << [start("b", 2)]


def test_a_claim_takes_no_victim_that_cannot_go_whatever_the_rule_says() -> None:
    rule = Mistaken()
    rule.verdict = Blocked(frozenset())
    rules = rules_for("a", "b")
    play = Play(Rules(rules.models, Fifo(5.0), rule), mistakes=True)
    play.ask("r1", "a")
    play.now += 20.0
    play.ready("a", 1).ask("r2", "b")
    rule.verdict = Evict(frozenset({A}))
    play.after(5.0)
    assert do.Note("the eviction rule 'group' evicts 'a', which cannot go", "error") in play.last
    assert play.core.board.models[A].phase is Phase.READY
