"""What ``window`` promises to callers, in virtual time: shares, weights, and that many do not starve one."""

import pytest

from supervisor.scheduler.policies.window import Settings, Window
from tests.support.window_traffic import backlog, run, service
from tools.simulate.measures import jain, percentile
from tools.simulate.world import Arrival


@pytest.mark.parametrize("swap", [2.0, 5.0, 10.0])
def test_a_caller_with_a_thousand_requests_queued_does_not_starve_one_who_sends_one_now_and_then(swap: float) -> None:
    settings = Settings()
    one = [Arrival(10.0 * number + 5.0, "ab"[number % 2], 0.5, "b") for number in range(60)]
    record = run(Window(settings), backlog("a", "ab", 2600) + one, swap)
    granted = [caller for caller, _, _ in record.served]
    waits = sorted(wait for caller, (_, _, wait) in zip(granted, record.waits, strict=True) if caller == "b")
    assert record.served[-1][1] > 600.0 + 500.0, "a had a thousand left when b sent his last"
    # A batch, its own swap included, ends when the other model has waited maxWait, but lasts its multiple of a swap.
    batch = max(settings.max_wait, settings.batch * swap) + 0.5
    print(f"swap {swap}: p95 {percentile(waits, 0.95):.1f} s, worst {waits[-1]:.1f} s, batch {batch:.1f} s")
    assert percentile(waits, 0.95) <= batch + swap


MODELS = {"all the same two": ["ab"] * 4, "each his own": list("abcd"), "mixed": ["a", "ab", "b", "ba"]}


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.parametrize("limit", [1, 3])
def test_four_callers_who_always_have_work_get_equal_shares(case: str, limit: int) -> None:
    arrivals = [
        arrival
        for number, models in enumerate(MODELS[case])
        for arrival in backlog(f"caller {number}", models, 700 * limit, 0.4 + 0.1 * number)
    ]
    shares = service(run(Window(), arrivals, 4.0, limit), 900.0)
    index = jain(list(shares.values()))
    print(case, limit, dict(shares), index)
    assert len(shares) == 4
    assert index is not None
    assert index >= 0.98


@pytest.mark.parametrize("models", [("ab", "ab"), ("a", "b"), ("a", "a")])
@pytest.mark.parametrize("swap", [2.0, 5.0])
def test_weights_of_three_to_one_give_service_of_three_to_one(models: tuple[str, str], swap: float) -> None:
    arrivals = backlog("heavy", models[0], 2400, 1.0) + backlog("light", models[1], 900, 1.0)
    shares = service(run(Window(Settings(weights={"heavy": 3.0})), arrivals, swap), 2800.0)
    print(models, swap, dict(shares))
    assert shares["heavy"] / shares["light"] == pytest.approx(3.0, rel=0.05)


def test_it_works_on_while_only_one_caller_has_something_to_do() -> None:
    alone = run(Window(Settings(weights={"light": 0.1})), backlog("light", "a", 400), 4.0)
    assert alone.ended == pytest.approx(3.0 + 200.0)


def test_a_caller_who_floods_many_models_gets_no_more_than_one_with_one() -> None:
    flood = backlog("flood", "abcde", 3000)
    shares = service(run(Window(), flood + backlog("one", "f", 1500), 4.0), 900.0)
    print(dict(shares))
    assert shares["one"] >= 0.8 * shares["flood"]


def test_the_gap_between_two_callers_who_share_a_model_stays_within_its_bound() -> None:
    """3 l L (1/w + 1/v): ``design.md``, *What a caller gets*."""
    weights = {"x": 2.0}
    arrivals = backlog("x", "a", 600, 1.5) + backlog("y", "a", 900, 0.3)
    record = run(Window(Settings(weights=weights)), arrivals, 4.0, limit=2)
    had = {"x": 0.0, "y": 0.0}
    gaps = []
    for caller, granted, seconds in record.served:
        if granted > 250.0:
            break
        had[caller] += seconds / weights.get(caller, 1.0)
        gaps.append(had["x"] - had["y"])
    assert len(gaps) > 300
    print(f"from {min(gaps):.1f} to {max(gaps):.1f}")
    assert max(gaps) - min(gaps) <= 3 * 2 * 1.5 * (1 / 2 + 1)
