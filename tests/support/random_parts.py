"""Policies and eviction rules for the random world, several settings of each. A new one gets its row here."""

from collections.abc import Callable

from config.sets import compile_sets
from protocol.ids import ModelId
from supervisor.scheduler.contracts import Eviction, Policy
from supervisor.scheduler.evictions.group import Group, Groups
from supervisor.scheduler.evictions.matrix import Matrix
from supervisor.scheduler.evictions.memory import Memory
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.policies.window import Settings, Window
from tests.support.examples import example

CALLERS = ("x", "y", "z")
NAMES = [ModelId(name) for name in "abcde"]

PROMPT = (Fifo, Window)
"""Policies that let nobody wait whose model is ready and has a free slot."""
Variant = int
"""Picks one of several settings of a policy or rule."""
VARIANTS, SOUND = 12, 8
"""How many; from ``SOUND`` on there are pinned models, and some that never fit."""

POLICIES: dict[str, Callable[[Variant], Policy]] = {
    "fifo": lambda variant: Fifo(
        max_wait=[4.0, 0.5, 12.0][variant % 3],
        min_resident=[0.0, 0.0, 3.0][variant % 3],
        priority={NAMES[variant % 5]: 2, NAMES[1]: -1},
    ),
    "fifo-without-claims": lambda variant: Fifo(max_wait=0.0, min_resident=[0.0, 2.0][variant % 2]),
    "window": lambda variant: Window(
        Settings(
            max_wait=[4.0, 0.5, 12.0][variant % 3],
            batch=[1.5, 4.0, 1.0][variant % 3],
            min_resident=[0.0, 0.0, 3.0][variant % 3],
            ageing=[10.0, 1.0][variant % 2],
            priority={NAMES[variant % 5]: 2, NAMES[1]: -1},
            weights={CALLERS[variant % 3]: 3.0},
        )
    ),
    "strict": lambda _: example("strict").Strict(),
}

_BESIDE, _ONE, _OTHER = Group(swap=False), Group(exclusive=False), Group(exclusive=False)
_GROUPS: tuple[dict[str, Group], ...] = (
    {},
    {"a": _BESIDE, "b": _BESIDE, "c": Group(swap=False)},
    {"a": Group(exclusive=False), "b": Group(persistent=True), "c": Group(swap=False, exclusive=False)},
    {"a": _ONE, "b": _ONE, "c": _OTHER, "d": _OTHER},
)
_SETS = (
    {"one": "a & b | c & d"},
    {"one": "(a | b) & (c | d)", "two": "+one & e"},
    {"one": "a & b & c", "two": "(a | c) & (b | c | d)", "three": "a & (b | e)"},
)
_COSTS: tuple[dict[ModelId, int], ...] = ({}, {NAMES[0]: 3, NAMES[3]: 2}, {NAMES[2]: 5})
_NEEDS = (
    {"a": {"x": 2}, "b": {"x": 2}, "c": {"x": 3, "y": 1}, "d": {"y": 2}, "e": {}},
    {"a": {"x": 1, "y": 1}, "b": {"x": 2, "y": 1}, "c": {"x": 4}, "d": {"x": 1, "y": 3}, "e": {"y": 2}},
)


def _groups(variant: Variant) -> Eviction:
    chosen = _GROUPS[variant % 4]
    return Groups({ModelId(name): group for name, group in chosen.items()})


def _matrix(variant: Variant) -> Eviction:
    program, problems = compile_sets(_SETS[variant % 3], {}, NAMES)
    assert not problems
    return Matrix(program, _COSTS[variant // 3 % 3])


def _memory(variant: Variant) -> Eviction:
    needs = {ModelId(name): need for name, need in _NEEDS[variant % 2].items()}
    pinned: frozenset[ModelId] = frozenset()
    if variant % VARIANTS >= SOUND:
        needs[NAMES[4]] = {"y": 4}
        pinned = frozenset({NAMES[1]})
    return Memory({"x": 4, "y": 3}, needs, _COSTS[variant // 2 % 3], pinned)


EVICTIONS: dict[str, Callable[[Variant], Eviction]] = {
    "group": _groups,
    "matrix": _matrix,
    "memory": _memory,
    "lru": lambda variant: example("lru").LeastRecentlyUsed(1 + variant % 3),
}
