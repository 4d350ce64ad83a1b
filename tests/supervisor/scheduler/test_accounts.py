"""What a policy that keeps accounts of callers is told and asked (``contracts.Accounting``)."""

from typing import Any

from protocol.ids import CallId, LeaseId, ModelId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.contracts import Queue, Swap, Waiting
from supervisor.scheduler.policies.fifo import Fifo
from tests.support.playbook import WORKER, Play, grant, rules_for, start, stop

A, B = ModelId("a"), ModelId("b")


class Youngest(Fifo):
    """The youngest request of a model first; writes down what it is told."""

    told: list[Any]

    def __init__(self, wish: str = "", max_wait: float = 60.0) -> None:
        super().__init__(max_wait)
        object.__setattr__(self, "told", [])
        object.__setattr__(self, "wish", wish)

    def pick(self, queue: Queue, model: ModelId) -> CallId:
        of_all = [first for caller in queue.callers(model) if (first := queue.first(model, caller))]
        return CallId(getattr(self, "wish", "")) or max(of_all, key=lambda each: each.number).call

    def arrived(self, request: Waiting) -> None:
        self.told.append(("arrived", request.call))

    def left(self, request: Waiting) -> None:
        self.told.append(("left", request.call))

    def granted(self, request: Waiting, lease: LeaseId) -> None:
        self.told.append(("granted", request.call, lease))

    def ended(self, lease: LeaseId, seconds: float) -> None:
        self.told.append(("ended", lease, seconds))

    def swapped(self, swap: Swap) -> None:
        self.told.append(swap)


def asking(play: Play, call: str, model: str, caller: str) -> Play:
    return play >> ev.RequestArrived(CallId(call), ModelId(model), WORKER, caller)


def test_it_picks_for_serve_and_for_the_grants_of_a_claim_and_hears_of_everything_once() -> None:
    policy = Youngest(max_wait=10.0)
    play = Play(rules_for("a", "b", policy=policy, limit=1))
    asking(play, "r1", "a", "x") << [start("a", 1)]
    play.now += 2.0
    play.ready("a", 1) << [grant("r1", 1, "a", 1)]
    asking(play, "r2", "b", "x") << []
    asking(play, "r3", "b", "y") << []
    play.after(10.0) << []
    play.release(1) << [stop("a", 1)]
    play.exited("a", 1) << [start("b", 2)]
    play.now += 3.0
    play.ready("b", 2) << [grant("r3", 2, "b", 2)]
    play >> ev.RequestAbandoned(CallId("r2")) << []
    play >> ev.WorkerLost(WORKER) << []
    assert policy.told == [
        ("arrived", "r1"),
        Swap(A, frozenset(), 2.0),
        ("granted", "r1", "i/L1"),
        ("arrived", "r2"),
        ("arrived", "r3"),
        ("ended", "i/L1", 10.0),
        Swap(B, frozenset({A}), 3.0),
        ("granted", "r3", "i/L2"),
        ("left", "r2"),
        ("ended", "i/L2", 0.0),
    ]


def test_a_grant_out_of_turn_settles_what_a_model_owes() -> None:
    play = Play(rules_for("a", "b", policy=Youngest(), limit=2))
    asking(play, "r1", "a", "x") << [start("a", 1)]
    for number, caller in enumerate("yz", 2):
        asking(play, f"r{number}", "a", caller) << []
    play.ready("a", 1) << [grant("r3", 1, "a", 1), grant("r2", 2, "a", 1)]
    assert not play.core.board.models[A].owed, "it has served as many as waited, up to its limit"


def test_a_pick_that_does_not_wait_is_noted_and_the_oldest_is_served() -> None:
    play = Play(rules_for("a", policy=Youngest("ghost")), mistakes=True)
    asking(play, "r1", "a", "x") << [start("a", 1)]
    note = do.Note("the policy picks 'ghost', which does not wait for 'a'", "error")
    play.ready("a", 1)
    assert note in play.last
    assert [effect.call for effect in play.last if isinstance(effect, do.Grant)] == ["r1"]


def test_loads_are_nobodys_requests() -> None:
    policy = Youngest()
    play = Play(rules_for("a", policy=policy))
    play >> ev.LoadAsked(CallId("q1"), A) << [start("a", 1)]
    play.ready("a", 1) << [do.Answer(CallId("q1"))]
    assert policy.told == [Swap(A, frozenset(), 0.0)]


def test_a_load_that_waited_for_a_claim_on_its_model_is_answered_when_the_claim_ends_and_nobody_picks_it() -> None:
    policy = Youngest(max_wait=10.0)
    play = Play(rules_for("a", "b", policy=policy, limit=2))
    asking(play, "r1", "a", "x") << [start("a", 1)]
    play.ready("a", 1) << [grant("r1", 1, "a", 1)]
    asking(play, "r2", "b", "x") << []
    play.after(10.0) << []
    asking(play, "r3", "a", "y") << []
    play >> ev.LoadAsked(CallId("q1"), A) << []
    asking(play, "r4", "a", "z") << []
    play >> ev.RequestAbandoned(CallId("r2")) << [do.Answer(CallId("q1")), grant("r4", 2, "a", 1)]
    assert [told[1] for told in policy.told if isinstance(told, tuple) and told[0] == "arrived"] == [
        "r1",
        "r2",
        "r3",
        "r4",
    ]


def test_a_reload_tells_the_new_policy_of_those_who_leave() -> None:
    play = Play(rules_for("a", "b", policy=Youngest()))
    asking(play, "r1", "a", "x")
    policy = Youngest()
    play.reload(rules_for("b", policy=policy))
    assert policy.told == [("left", "r1")]
