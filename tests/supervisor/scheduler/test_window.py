"""The policy ``window``: each branch of its decisions as a dialogue, its settings, its accounts in a snapshot."""

import json
from typing import Any

import pytest

from protocol.ids import CallId, ModelId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.core import Core
from supervisor.scheduler.policies.fair import Account
from supervisor.scheduler.policies.lanes import Lanes
from supervisor.scheduler.policies.window import Settings, Window
from supervisor.scheduler.state import Rules
from supervisor.scheduler.view import View
from tests.support.playbook import WORKER, Play, grant, rules_for, start, stop

A, B, C = ModelId("a"), ModelId("b"), ModelId("c")


def window(**settings: Any) -> Window:
    return Window(Settings(**settings))


def asking(play: Play, call: str, model: str, caller: str = "x") -> Play:
    return play >> ev.RequestArrived(CallId(call), ModelId(model), WORKER, caller)


def waiting(play: Play, model: str) -> list[str]:
    return list(play.core.board.models[ModelId(model)].waiting)


def swapped_to(play: Play, model: str, generation: int, seconds: float) -> Play:
    """A start that took so long succeeds."""
    play.now += seconds
    return play.ready(model, generation)


def busy_a(*, swap: float = 4.0, models: str = "abc", limit: int = 1, **settings: Any) -> Play:
    """Model a became ready after ``swap`` seconds (at 104), serves r1, and has r2 waiting."""
    play = Play(rules_for(*models, policy=window(**settings), limit=limit))
    asking(play, "r1", "a") << [start("a", 1)]
    asking(play, "r2", "a")
    return swapped_to(play, "a", 1, swap)


# What is ready, and what gives way


def test_a_ready_model_serves_at_once_ahead_of_older_requests_of_others() -> None:
    play = busy_a(limit=2)
    asking(play, "o1", "b") << []
    play.release(1) << []
    asking(play, "r3", "a") << [grant("r3", 3, "a", 1)]


def test_an_idle_model_gives_way_at_once_to_the_one_that_was_served_longest_ago() -> None:
    play = busy_a()
    for call, model in (("o1", "c"), ("o2", "b"), ("o3", "c")):
        asking(play, call, model) << []
    play.release(1) << [grant("r2", 2, "a", 1)]
    play.release(2) << [stop("a", 1)]
    play.exited("a", 1) << [start("c", 2)]


def test_min_resident_holds_even_an_idle_model() -> None:
    play = Play(rules_for("a", "b", policy=window(min_resident=5.0)))
    asking(play, "r1", "a")
    play.ready("a", 1).release(1)
    asking(play, "r2", "b") << []
    play.after(4.9) << []
    play.after(0.1) << [stop("a", 1)]


# When it claims


def draining(play: Play, model: str) -> bool:
    return str(play.core.board.models[ModelId(model)].phase) == "draining"


def test_a_model_that_waited_max_wait_claims_once_the_batch_of_the_one_in_its_way_is_over() -> None:
    play = busy_a(max_wait=5.0, batch=4.0)
    asking(play, "o1", "b", "y") << []
    play.after(5.0) << []
    assert not draining(play, "a"), "its batch ends 12 s after ready"
    play.after(6.9) << []
    assert not draining(play, "a")
    play.after(0.2) << []
    assert draining(play, "a")
    play.release(1) << [stop("a", 1)]


def test_it_does_not_claim_before_max_wait_even_if_the_batch_is_over() -> None:
    play = busy_a(max_wait=20.0, batch=2.0)
    play.now += 10.0
    asking(play, "o1", "b", "y") << [do.WakeAt(134.0)]
    play.after(19.9) << []
    assert not draining(play, "a")
    play.after(0.1) << []
    assert draining(play, "a")


def test_max_wait_counts_from_the_last_lease_of_a_model_that_still_has_a_queue() -> None:
    play = busy_a(max_wait=15.0, batch=1.0)
    asking(play, "r3", "a")
    asking(play, "o1", "b", "y")
    asking(play, "o2", "b", "y")
    play.now += 14.0
    play.release(1) << [grant("r2", 2, "a", 1)]
    play.after(1.0) << []
    assert draining(play, "a")
    play.release(2) << [stop("a", 1)]
    policy = play.core.board.rules.policy
    assert isinstance(policy, Window)
    policy._shares.accounts["y"].tag += 100.0
    play.exited("a", 1) << [start("b", 2)]
    swapped_to(play, "b", 2, 3.0) << [grant("o1", 3, "b", 2)]
    # r3 has waited since 104, and a was served last at 118.
    play.after(10.9) << []
    assert play.core.board.claim is None
    play.after(0.2) << []
    assert play.core.board.claim is not None


def test_it_stays_with_what_will_be_done_sooner_than_it_could_come_back() -> None:
    play = busy_a(swap=10.0, max_wait=15.0, batch=1.1)
    asking(play, "o1", "b") << []
    play.after(15.0) << []
    assert not draining(play, "a"), "one more request of a second or so, or two swaps of ten"
    play.after(1.0)
    play.release(1) << [grant("r2", 2, "a", 1)]
    play.release(2) << [stop("a", 1)]


def test_what_is_worth_it_has_an_end() -> None:
    play = busy_a(swap=10.0, max_wait=15.0, batch=1.1)
    asking(play, "o1", "b") << []
    for _ in range(40):
        play.after(1.0)
        if draining(play, "a"):
            break
    assert play.now == pytest.approx(110.0 + 2.0 * 15.0, abs=4.0)


def test_it_does_not_stay_for_a_caller_who_has_had_more() -> None:
    play = busy_a(swap=10.0, max_wait=15.0, batch=1.1)
    asking(play, "o1", "b", "y") << []
    play.after(15.0) << []
    assert draining(play, "a")


def test_it_stays_while_its_caller_is_behind_in_his_share() -> None:
    play = busy_a(swap=1.0, max_wait=2.0, batch=3.0, weights={"x": 4.0})
    policy = play.core.board.rules.policy
    assert isinstance(policy, Window)
    policy._shares.accounts["x"].tag -= 30.0
    for number in range(40):
        asking(play, f"more{number}", "a")
    asking(play, "o1", "b", "y") << []
    play.after(6.0) << []
    assert not draining(play, "a")
    policy._shares.accounts["x"].tag += 60.0
    play.after(6.0) << []
    assert draining(play, "a")


def test_a_starting_model_has_its_batch_before_it_is_claimed_against() -> None:
    play = busy_a(models="abc", max_wait=5.0, batch=3.0)
    asking(play, "o1", "b", "y")
    asking(play, "p1", "c", "z")
    play.release(1).release(2) << [stop("a", 1)]
    play.exited("a", 1) << [start("b", 2)]
    asking(play, "o2", "b", "y")
    play.after(8.0) << []
    assert play.core.board.claim is None, "c is ripe, and lets b start"
    play.ready("b", 2) << [grant("o1", 3, "b", 2)]
    policy = play.core.board.rules.policy
    assert isinstance(policy, Window)
    policy._shares.accounts["y"].tag += 100.0
    play.after(9.0) << []
    assert play.core.board.claim is None, "and have its batch"
    play.after(8.0) << []
    assert play.core.board.claim is not None
    assert play.core.board.claim.target == C


def test_every_other_claim_is_for_the_caller_who_has_had_least() -> None:
    targets = []
    play = busy_a(swap=1.0, models="abcd", max_wait=2.0, batch=2.0)
    policy = play.core.board.rules.policy
    assert isinstance(policy, Window)
    for call, model, caller, ahead in (("o1", "b", "u", 50.0), ("p1", "c", "v", 20.0), ("q1", "d", "w", 0.0)):
        asking(play, call, model, caller)
        policy._shares.accounts[caller].tag += ahead
    policy._shares.accounts["x"].tag += 90.0
    leases, generation, last = 1, 1, "a"
    for _ in range(2):
        play.after(5.0)
        claim = play.core.board.claim
        assert claim is not None
        targets.append(str(claim.target))
        play.release(leases)
        play.exited(last, generation)
        leases, generation, last = leases + 1, generation + 1, str(claim.target)
        asking(play, f"more{leases}", last, "x")
        swapped_to(play, last, generation, 1.0)
    assert targets == ["b", "d"], "b has waited longest; w, who waits for d, has had least"


# Priorities


def test_a_step_of_priority_counts_as_time_waited() -> None:
    for ageing, first in ((10.0, "c"), (1.0, "b")):
        play = busy_a(priority={C: 1}, ageing=ageing)
        asking(play, "o1", "b")
        play.now += 5.0
        asking(play, "o2", "c")
        play.release(1).release(2) << [stop("a", 1)]
        play.exited("a", 1) << [start(first, 2)]


def test_a_priority_lets_a_model_claim_sooner_or_later() -> None:
    for step, due in ((1, 5.0), (-1, 25.0)):
        play = busy_a(swap=1.0, priority={B: step}, ageing=10.0, max_wait=15.0, batch=2.0)
        asking(play, "o1", "b", "y")
        play.after(due - 0.1)
        assert not draining(play, "a")
        play.after(0.2)
        assert draining(play, "a")


# Callers


def test_a_caller_with_many_requests_does_not_hold_up_one_with_one() -> None:
    play = busy_a()
    for number in range(20):
        asking(play, f"f{number}", "a", "x")
    asking(play, "one", "a", "y")
    play.now += 1.0
    play.release(1) << [grant("one", 2, "a", 1)]


def served_in_turn(play: Play, leases: int) -> list[str]:
    """Which of x and y gets each slot when the lease in it ends after a second; calls of y begin with y."""
    order = []
    for number in range(1, leases + 1):
        play.now += 1.0
        play.release(number)
        (granted,) = [effect.call for effect in play.last if isinstance(effect, do.Grant)]
        order.append("y" if granted.startswith("y") else "x")
    return order


def test_callers_take_turns_by_the_seconds_they_have_had() -> None:
    play = busy_a()
    for number in range(8):
        asking(play, f"x{number}", "a", "x")
        asking(play, f"y{number}", "a", "y")
    assert served_in_turn(play, 8) == ["y", "x"] * 4, "x had the first"


def test_a_weight_of_three_gets_three_times_as_much() -> None:
    play = busy_a(weights={"x": 3.0})
    for number in range(40):
        asking(play, f"x{number}", "a", "x")
        asking(play, f"y{number}", "a", "y")
    assert served_in_turn(play, 32).count("x") == 24


def test_a_long_lease_is_charged_when_it_ends_and_a_short_one_less() -> None:
    play = busy_a()
    for number in range(6):
        asking(play, f"x{number}", "a", "x")
        asking(play, f"y{number}", "a", "y")
    play.now += 1.0
    play.release(1) << [grant("y0", 2, "a", 1)]
    play.now += 30.0
    play.release(2) << [grant("r2", 3, "a", 1)]
    play.now += 1.0
    for lease, call in enumerate(("x0", "x1", "x2"), 4):
        play.release(lease - 1) << [grant(call, lease, "a", 1)]
        play.now += 1.0


# Settings


def test_the_settings_name_every_mistake() -> None:
    given = {
        "maxwait": 3, "maxWait": 0, "batch": "much", "minResident": -1, "ageing": True,
        "priority": {"q": 1}, "weights": {"key:12": 0, "y": 2},
    }  # fmt: skip
    policy, problems = Window.parse(given, {})
    assert [(problem.path, problem.text) for problem in problems] == [
        ("maxwait", "there is no such setting; did you mean 'maxWait'?"),
        ("maxWait", "found 0, expected a number of seconds, more than 0"),
        ("batch", "found 'much', expected how many times a swap, 1 or more"),
        ("minResident", "found -1, expected a number of seconds, 0 or more"),
        ("ageing", "found True, expected a number of seconds, 0 or more"),
        ("priority.q", "there is no model 'q'"),
        ("weights.key:12", "found 0, expected a number from 0.01 to 100"),
    ]
    assert policy.settings == Settings(weights={"y": 2.0})


def test_weights_have_to_be_a_mapping() -> None:
    _, problems = Window.parse({"weights": [1]}, {})
    assert [(problem.path, problem.text) for problem in problems] == [
        ("weights", "expected a mapping of callers to numbers")
    ]


# Accounts


def test_accounts_go_through_a_snapshot_and_a_reload() -> None:
    play = busy_a()
    asking(play, "o1", "b", "y")
    play.now += 3.0
    policy = play.core.board.rules.policy
    saved = json.loads(json.dumps(policy.snapshot()))
    assert saved["charged"], "a lease is out"
    assert set(saved["shares"]["accounts"]) == {"x", "y"}
    other = Core(rules_for("a", "b", "c", policy=window(), limit=1), "i")
    other.restore(json.loads(json.dumps(play.core.snapshot())))
    assert other.board.rules.policy.snapshot() == policy.snapshot()
    again = window(max_wait=99.0)
    rules = play.core.board.rules
    play.reload(Rules(rules.models, again, rules.eviction))
    assert again.snapshot()["shares"] == saved["shares"]


def test_a_reload_forgets_what_was_learned_of_models_that_are_no_more() -> None:
    play = busy_a()
    asking(play, "o1", "b")
    play.now += 1.0
    play.release(1).release(2)
    play.exited("a", 1)
    swapped_to(play, "b", 2, 3.0)
    play.release(3)
    saved = play.core.board.rules.policy.snapshot()
    assert [*saved["served"]] == [A, B]
    assert saved["costs"]["pairs"]
    fewer = Window(models=(B, C))
    fewer.restore(json.loads(json.dumps(saved)))
    left = fewer.snapshot()
    assert [*left["served"]] == [*left["costs"]["swaps"]] == [*left["costs"]["services"]] == [B]
    assert not left["costs"]["pairs"]


def test_a_caller_who_is_idle_and_has_caught_up_is_forgotten() -> None:
    play = busy_a(limit=2)
    policy = play.core.board.rules.policy
    assert isinstance(policy, Window)
    for number in range(3, 200):
        asking(play, f"r{number}", "a", f"caller-{number}")
        play.now += 1.0
        play.release(number - 1)
    assert len(policy._shares.accounts) < 8
    assert len(policy._charged) <= 2


def test_a_caller_who_comes_back_has_saved_nothing_up() -> None:
    play = busy_a(models="a")
    policy = play.core.board.rules.policy
    assert isinstance(policy, Window)
    policy._shares.accounts["y"] = Account(0.5)
    for number in range(20):
        asking(play, f"x{number}", "a", "x")
    for number in range(1, 11):
        play.now += 1.0
        play.release(number)
    for number in range(10):
        asking(play, f"y{number}", "a", "y")
    order = []
    for number in range(11, 17):
        play.now += 1.0
        play.release(number)
        order.append(granted(play)[0])
    assert order.count("y") <= 4, "an hour ago is no reason"


def test_a_tag_that_goes_down_moves_its_caller_forward() -> None:
    play = Play(rules_for("a", policy=window()))
    for caller in "yzy":
        asking(play, f"{caller}{play.core.board.arrivals}", "a", caller)
    tags = {"y": 10.0, "z": 5.0}
    lanes, view = Lanes(tags.__getitem__), View(play.core.board)

    def first() -> str:
        found = lanes.first(view, A)
        return found.call if found else ""

    assert first() == "z1"
    tags["z"] = 12.0
    assert first() == "y0"
    tags["z"] = 7.0
    lanes.lowered("z")
    assert first() == "z1"
    for number in range(100):
        tags["y"] = 5.0 - number / 100.0
        lanes.lowered("y")
    assert first() == "y0"
    assert len(lanes._lanes[A].heap) < 30, "what is out of date is thrown away"


def test_a_claim_does_not_break_the_plan_of_a_model_that_has_waited_longer() -> None:
    play = busy_a(max_wait=2.0, batch=2.0)
    asking(play, "o1", "b", "y")
    asking(play, "p1", "c", "z")
    play.release(1).release(2) << [stop("a", 1)]
    for _ in range(20):
        play.after(3.0) << []
    assert play.core.board.claim is None
    play.exited("a", 1) << [start("b", 2)]


def granted(play: Play) -> str:
    (call,) = [effect.call for effect in play.last if isinstance(effect, do.Grant)]
    return str(call)
