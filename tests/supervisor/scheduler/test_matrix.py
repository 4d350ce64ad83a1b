"""Sets of models: who goes, and what may not be said. The language itself: ``tests/config/test_sets.py``."""

import pytest

from config.sets import compile_sets
from config.types import ModelSettings
from protocol.ids import ModelId
from supervisor.scheduler.contracts import Blocked, Evict, Standing, Verdict
from supervisor.scheduler.evictions.matrix import Matrix
from supervisor.scheduler.phases import Phase

READY = Standing(Phase.READY, False, 0.0, True)
BUSY = Standing(Phase.READY, True, 0.0, True)
STOPPING = Standing(Phase.STOPPING, False, 0.0, True)
STUCK = Standing(Phase.STUCK, False, 0.0, False)


def ask(sets: dict[str, str], target: str, costs: dict[str, int] | None = None, **standing: Standing) -> Verdict:
    program, problems = compile_sets(sets, {}, list("abcde"))
    assert not problems
    rule = Matrix(program, {ModelId(name): cost for name, cost in (costs or {}).items()})
    beside = {ModelId(name): entry for name, entry in standing.items()}
    return rule.victims(ModelId(target), beside, allow_busy=False)


def evict(*names: str) -> Evict:
    return Evict(frozenset(ModelId(name) for name in names))


@pytest.mark.rule("C11.3.16", "C11.3.14")
def test_a_set_permits_and_starts_nobody() -> None:
    assert ask({"s": "a & b & c"}, "a", b=READY) == evict()
    assert ask({"s": "a & b & c"}, "a", d=READY) == evict("d")


@pytest.mark.rule("C11.3.12", "C11.3.13", "C11.3.14")
def test_the_combination_whose_missing_models_cost_least_decides() -> None:
    sets = {"one": "a & b", "two": "a & c"}
    assert ask(sets, "a", b=READY, c=READY) == evict("c")
    assert ask(sets, "a", {"c": 2}, b=READY, c=READY) == evict("b")
    assert ask(sets, "a", {"c": 2, "b": 2}, b=READY, c=READY) == evict("c")


@pytest.mark.rule("C11.3.15")
def test_a_model_in_no_set_runs_alone_and_is_always_in_the_way() -> None:
    assert ask({"s": "a & b"}, "e", a=READY, b=READY) == evict("a", "b")
    assert ask({"s": "a & b"}, "a", e=READY) == evict("e")


def test_whether_a_victim_is_busy_has_no_part_in_the_choice() -> None:
    sets = {"one": "a & b", "two": "a & c"}
    assert ask(sets, "a", {"b": 2}, b=READY, c=BUSY) == Blocked(frozenset({ModelId("c")}))


def test_what_cannot_go_is_avoided_if_any_combination_allows_it() -> None:
    sets = {"one": "a & b", "two": "a & c"}
    assert ask(sets, "a", {"b": 9}, b=READY, c=STUCK) == evict("b")
    assert ask(sets, "a", {"b": 10**15}, b=READY, c=STUCK) == evict("b")
    assert ask(sets, "d", b=READY, c=STUCK) == Blocked(frozenset({ModelId("c")}))


@pytest.mark.rule("C11.3.17")
def test_what_is_stopping_anyway_is_a_free_victim() -> None:
    sets = {"one": "a & b", "two": "a & c"}
    assert ask(sets, "a", {"b": 9}, b=STOPPING, c=READY) == evict("b")


def test_what_is_stopping_anyway_and_may_stay_is_not_waited_for() -> None:
    sets = {"one": "a & b", "two": "a & c"}
    assert ask(sets, "a", c=STOPPING) == evict()
    assert ask({"one": "a & b", "two": "a & c & d"}, "a", b=READY, c=STOPPING, d=STOPPING) == evict("c", "d")


def test_settings_are_checked_with_their_paths() -> None:
    models = {ModelId("sdxl"): ModelSettings("sdxl", (), "")}
    program, _ = compile_sets({"s": "sdxl"}, {}, ["sdxl"])
    _, problems = Matrix.parse({"program": program, "evict_costs": {"sdx": 2, "sdxl": 0}}, models)
    assert [(problem.path, problem.text) for problem in problems] == [
        ("evict_costs.sdx", "there is no model 'sdx'; did you mean 'sdxl'?"),
        ("evict_costs.sdxl", "found 0, expected 1 or more"),
    ]
    rule, problems = Matrix.parse({}, models)
    assert [problem.path for problem in problems] == ["sets"]
    assert rule.victims(ModelId("sdxl"), {ModelId("a"): READY}, allow_busy=False) == evict("a")
    rule, problems = Matrix.parse({"program": program, "evict_costs": {"sdxl": 7}}, models)
    assert not problems
