"""Memory budgets: who goes, against all subsets; and what a configuration may not say."""

import itertools
import random
from collections import Counter

from config.types import ModelSettings
from protocol.ids import ModelId
from supervisor.scheduler.contracts import Blocked, Evict, Never, Standing
from supervisor.scheduler.evictions.memory import EXACT, Memory
from supervisor.scheduler.phases import Phase

T = ModelId("t")
GIB = 2**30


def ready(used: float = 0.0, *, busy: bool = False, movable: bool = True) -> Standing:
    return Standing(Phase.READY, busy, used, movable)


def stopping() -> Standing:
    return Standing(Phase.STOPPING, False, 0.0, True)


def rule(needs: dict[str, int], budget: int = 10, costs: dict[str, int] | None = None) -> Memory:
    return Memory(
        {"gpu": budget},
        {ModelId(name): {"gpu": amount} for name, amount in needs.items()},
        {ModelId(name): cost for name, cost in (costs or {}).items()},
    )


def among(**entries: Standing) -> dict[ModelId, Standing]:
    return {ModelId(name): entry for name, entry in entries.items()}


def evict(*names: str) -> Evict:
    return Evict(frozenset(ModelId(name) for name in names))


def test_what_fits_evicts_nobody() -> None:
    made = rule({"a": 4, "t": 6})
    assert made.victims(T, among(a=ready()), allow_busy=False) == evict()


def test_the_cheapest_goes_and_of_equal_ones_the_least_recently_used() -> None:
    made = rule({"a": 5, "b": 5, "t": 5}, costs={"a": 3})
    assert made.victims(T, among(a=ready(1.0), b=ready(2.0)), allow_busy=False) == evict("b")
    made = rule({"a": 5, "b": 5, "t": 5})
    assert made.victims(T, among(a=ready(2.0), b=ready(1.0)), allow_busy=False) == evict("b")
    assert made.victims(T, among(a=ready(1.0), b=ready(1.0)), allow_busy=False) == evict("a")
    made = rule({"b": 5, "a": 5, "t": 5})
    assert made.victims(T, among(b=ready(1.0), a=ready(1.0)), allow_busy=False) == evict("b")


def test_one_large_model_goes_rather_than_two_small_ones() -> None:
    made = rule({"a": 2, "b": 2, "c": 4, "t": 6})
    standing = among(a=ready(1.0), b=ready(2.0), c=ready(9.0))
    assert made.victims(T, standing, allow_busy=False) == evict("c")


def test_a_busy_model_blocks_and_a_claim_may_take_it() -> None:
    made = rule({"a": 8, "t": 8})
    standing = among(a=ready(busy=True))
    assert made.victims(T, standing, allow_busy=False) == Blocked(frozenset({ModelId("a")}))
    assert made.victims(T, standing, allow_busy=True) == evict("a")


def test_what_is_stopping_anyway_is_waited_for_before_anybody_else_goes() -> None:
    made = rule({"a": 5, "b": 5, "t": 5})
    assert made.victims(T, among(a=ready(), b=stopping()), allow_busy=False) == evict("b")
    assert made.victims(T, among(b=stopping()), allow_busy=False) == evict()


def test_a_device_that_lacks_nothing_loses_nobody() -> None:
    made = Memory({"x": 10, "y": 10}, {ModelId("a"): {"x": 9}, ModelId("b"): {"y": 9}, T: {"y": 5}})
    assert made.victims(T, among(a=ready(1.0), b=ready(2.0)), allow_busy=False) == evict("b")


def test_what_cannot_go_blocks_and_what_never_fits_is_said() -> None:
    made = rule({"a": 8, "t": 8, "u": 11})
    assert made.victims(T, among(a=ready(movable=False)), allow_busy=True) == Blocked(frozenset({ModelId("a")}))
    assert isinstance(made.victims(ModelId("u"), among(), allow_busy=True), Never)


def test_what_does_not_fit_beside_the_pinned_ones_never_starts_whoever_else_runs() -> None:
    made = Memory({"gpu": 10}, {ModelId("p"): {"gpu": 6}, ModelId("a"): {"gpu": 4}, T: {"gpu": 5}}, {}, {ModelId("p")})
    held = ready(movable=False)
    assert made.victims(T, among(p=held, a=held), allow_busy=True) == Never("model 't' does not fit beside p")
    assert made.victims(T, among(a=held), allow_busy=True) == evict()


def test_a_model_that_nothing_is_known_of_needs_nothing() -> None:
    assert rule({"a": 10}).victims(ModelId("new"), among(a=ready()), allow_busy=False) == evict()


def cost_of(chosen: tuple[str, ...], costs: dict[str, int], used: dict[str, float]) -> tuple[int, list[float]]:
    return sum(costs[name] for name in chosen), sorted((used[name] for name in chosen), reverse=True)


def test_the_choice_is_the_best_of_all_subsets() -> None:
    seen: Counter[str] = Counter()
    for seed in range(400):
        rng = random.Random(seed)
        names = [f"m{number}" for number in range(EXACT if seed % 20 == 0 else rng.randint(1, 8))]
        needs = {name: {"x": rng.randint(0, 4), "y": rng.randint(0, 4)} for name in names}
        costs = {name: rng.randint(1, 3) for name in names}
        used = {name: float(rng.randint(0, 5)) for name in names}
        target = {"x": rng.randint(0, 6), "y": rng.randint(0, 6)}
        budget = {"x": rng.randint(6, 12), "y": rng.randint(6, 12)}
        idle = [name for name in names if rng.random() < 0.8]
        made = Memory(
            budget,
            {**{ModelId(name): need for name, need in needs.items()}, T: target},
            {ModelId(name): cost for name, cost in costs.items()},
        )
        standing = {ModelId(name): ready(used[name], busy=name not in idle) for name in names}
        verdict = made.victims(T, standing, allow_busy=False)

        def fits(gone: tuple[str, ...]) -> bool:
            stay = [needs[name] for name in names if name not in gone]  # noqa: B023
            wanted = [d for d in budget if target[d]]  # noqa: B023
            return all(sum(need[d] for need in stay) + target[d] <= budget[d] for d in wanted)  # noqa: B023

        subsets = [subset for size in range(len(idle) + 1) for subset in itertools.combinations(idle, size)]
        good = [subset for subset in subsets if fits(subset)]
        if not good:
            seen["blocked"] += 1
            assert isinstance(verdict, Blocked | Never)
            continue
        assert isinstance(verdict, Evict)
        found = tuple(str(name) for name in verdict.victims)
        assert fits(found)
        best = min(cost_of(subset, costs, used) for subset in good)
        assert cost_of(found, costs, used) == best
        seen["nobody" if not found else "one" if len(found) == 1 else "several"] += 1
        seen["of twelve"] += len(names) == EXACT and len(found) > 1
    print(dict(seen))
    assert all(seen[kind] for kind in ("blocked", "nobody", "one", "several", "of twelve"))


def test_with_more_candidates_than_are_searched_nobody_goes_without_need() -> None:
    names = [f"m{number}" for number in range(EXACT + 8)]
    made = rule({**dict.fromkeys(names, 1), "t": 5}, budget=len(names))
    verdict = made.victims(T, among(**{name: ready(float(at)) for at, name in enumerate(names)}), allow_busy=False)
    assert verdict == evict(*names[:5])


def test_with_more_candidates_a_small_one_is_kept_when_a_larger_one_turns_out_to_be_enough() -> None:
    names = [f"m{number}" for number in range(EXACT + 1)]
    made = rule({**dict.fromkeys(names, 1), "m1": 5, "t": 5}, budget=len(names) + 4)
    verdict = made.victims(T, among(**{name: ready(float(at)) for at, name in enumerate(names)}), allow_busy=False)
    assert verdict == evict("m1")


def declared(**more: object) -> ModelSettings:
    return ModelSettings(id="", cmd=(), proxy="", **more)  # type: ignore[arg-type]


def test_a_model_has_to_fit_beside_all_pinned_ones_and_the_sum_is_shown() -> None:
    models = {
        ModelId("embed"): declared(memory={"gpu0": 4 * GIB}, pinned=True),
        ModelId("large"): declared(memory={"gpu0": 20 * GIB}),
        ModelId("typo"): declared(memory={"gpu1": 1}),
    }
    _, problems = Memory.parse({"devices": {"gpu0": 24 * GIB}, "reserve": {"gpu0": GIB, "gpu": 3}}, models)
    assert [(problem.path, problem.text) for problem in problems] == [
        ("reserve.gpu", "there is no device 'gpu'; did you mean 'gpu0'?"),
        ("models.typo.memory.gpu1", "there is no device 'gpu1'; did you mean 'gpu0'?"),
        (
            "models.large.memory.gpu0",
            "needs 20 GiB + 4 GiB ('embed', pinned) of gpu0, which has 23 GiB to spend",
        ),
    ]
    _, problems = Memory.parse({"devices": {"gpu0": 5}, "reserve": {"gpu0": 5}}, {})
    assert [problem.path for problem in problems] == ["reserve.gpu0"]
    _, problems = Memory.parse({}, {})
    assert [problem.path for problem in problems] == ["devices"]
