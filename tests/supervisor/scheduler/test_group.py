"""The group rule, case by case (``tests/compat/config.md`` §11.2)."""

import pytest

from config.types import ModelSettings
from protocol.ids import ModelId
from supervisor.scheduler.contracts import Blocked, Evict, Standing
from supervisor.scheduler.evictions.group import Group, Groups
from supervisor.scheduler.phases import Phase

T, M = ModelId("target"), ModelId("other")
IDLE = Standing(Phase.READY, busy=False, last_used=0.0, movable=True)
BUSY = Standing(Phase.READY, busy=True, last_used=0.0, movable=True)
STUCK = Standing(Phase.STUCK, busy=False, last_used=0.0, movable=False)
NONE: frozenset[ModelId] = frozenset()


@pytest.mark.rule("C11.2.5", "C11.2.6", "C11.2.7", "C11.2.8", "C11.2.9")
@pytest.mark.parametrize(
    ("ours", "theirs", "evicted"),
    [
        (Group(swap=True), None, True),
        (Group(swap=False), None, False),
        (Group(exclusive=True), Group(), True),
        (Group(exclusive=False), Group(), False),
        (Group(exclusive=True), Group(persistent=True), False),
        (Group(swap=True, persistent=True), None, True),
    ],
    ids=["same swaps", "same stays", "exclusive", "not exclusive", "persistent elsewhere", "persistent inside"],
)
def test_who_must_go(ours: Group, theirs: Group | None, evicted: bool) -> None:
    rule = Groups({T: ours, M: theirs or ours})
    expected = Evict(frozenset({M}) if evicted else NONE)
    assert rule.victims(T, {M: IDLE}, allow_busy=False) == expected


@pytest.mark.rule("C11.2.4", "C11.1.4")
def test_models_in_no_group_swap_among_each_other() -> None:
    assert Groups().victims(T, {M: IDLE}, allow_busy=False) == Evict(frozenset({M}))


def test_a_busy_victim_blocks_unless_busy_ones_are_allowed() -> None:
    assert Groups().victims(T, {M: BUSY}, allow_busy=False) == Blocked(frozenset({M}))
    assert Groups().victims(T, {M: BUSY}, allow_busy=True) == Evict(frozenset({M}))


def test_a_stuck_victim_blocks_always() -> None:
    assert Groups().victims(T, {M: STUCK}, allow_busy=True) == Blocked(frozenset({M}))


def test_settings_are_checked_with_their_paths() -> None:
    settings = {"g": {"members": [T, "nobody"], "swop": False}, "h": {"members": [T]}}
    _, problems = Groups.parse(settings, {T: ModelSettings("target", (), ""), M: ModelSettings("m", (), "")})
    assert [(problem.path, problem.text) for problem in problems] == [
        ("g.swop", "a group has no such setting"),
        ("g.members", "there is no model 'nobody'"),
        ("h.members", "'target' is in two groups"),
    ]
