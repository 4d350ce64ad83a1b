"""A configuration is the same in one file and spread over several: random ones, spread at random."""

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from config.check import load
from config.merge import WHOLE
from config.sources import Sources

FILES = 4
NAMES = ["a", "b", "c", "d", "e"]
MODELS = st.dictionaries(
    st.sampled_from(NAMES),
    st.fixed_dictionaries(
        {"cmd": st.sampled_from(["sh ${PORT}", "sh ${x} ${y} ${PORT} ${MODEL_ID}"])},
        optional={
            "ttl": st.integers(-1, 9),
            "unlisted": st.booleans(),
            "env": st.lists(st.sampled_from(["A=1", "B=${PORT}"]), max_size=2),
            "memory": st.just({"gpu0": "1GiB"}),
            "macros": st.just({"x": "own"}),
        },
    ),
)
ROUTERS = st.sampled_from(
    [
        {"use": "group", "settings": {"groups": {"g": {"members": []}, "h": {"swap": False}, "i": {}}}},
        {"use": "memory", "settings": {"memory": {"devices": {"gpu0": "9GiB", "gpu1": 5}, "reserve": {"gpu0": 1}}}},
    ]
)
FIFO = {"settings": {"fifo": {"maxWait": 1, "minResident": 2}}}
WHOLES = st.fixed_dictionaries(
    # Declared first and used later, so that the order of macros counts.
    {"macros": st.just({"w": "1", "x": "${w}", "y": "${x} ${w}"}), "models": MODELS},
    optional={
        "apiKeys": st.lists(st.sampled_from(["k", "l", "m"])),
        "gateway": st.just({"keepAliveAfter": 3, "clientStallTimeout": 4, "bodyLimit": "1MiB"}),
        "routing": st.fixed_dictionaries({}, optional={"router": ROUTERS, "scheduler": st.just(FIFO)}),
        "globalTTL": st.integers(0, 9),
        "logLevel": st.sampled_from(["debug", None]),
        "profiles": st.just({"p": {"pins": {"x": ""}}, "q": {"pins": {"y": ""}}}),
        "unknown": st.lists(st.lists(st.integers(0, 3), max_size=2), max_size=3),
    },
)


def pieces(draw: st.DrawFn, value: Any, path: str, first: int) -> dict[int, Any]:
    """A value spread over files from the first one on, in an order that leaves the whole as it is."""
    later = st.integers(first, FILES - 1)
    found: dict[int, Any]
    if isinstance(value, dict):
        found = {first: {}}
        starts = sorted(draw(st.lists(later, min_size=len(value), max_size=len(value))))
        for (key, entry), start in zip(value.items(), starts, strict=True):
            inner = f"{path}.{key}".strip(".")
            parts = {start: entry} if path in WHOLE else pieces(draw, entry, inner, start)
            for file, part in parts.items():
                found.setdefault(file, {})[key] = part
    elif isinstance(value, list):
        found = {first: []}
        starts = sorted(draw(st.lists(later, min_size=len(value), max_size=len(value))))
        for entry, start in zip(value, starts, strict=True):
            found.setdefault(start, []).append(entry)
    else:
        found = dict.fromkeys({first, *draw(st.sets(later, max_size=2))}, value)
    return found


@st.composite
def wholes_and_parts(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    whole = draw(WHOLES)
    parts = pieces(draw, whole, "", 0)
    return whole, [parts.get(number, {}) for number in range(FILES)]


@settings(max_examples=300, derandomize=True, deadline=None)
@given(wholes_and_parts())
def test_merging_in_parts_equals_the_whole(drawn: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    whole, parts = drawn
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "whole").write_text(json.dumps(whole))
        one = load(folder / "whole")
        (folder / "conf.d").mkdir()
        (folder / "first").write_text(json.dumps(parts[0]))
        for number, part in enumerate(parts[1:]):
            (folder / "conf.d" / f"{number}.yaml").write_text(json.dumps(part) if part else "")
        many = load(Sources(folder / "first", folder / "conf.d"))
    assert one.settings is not None, one.problems
    assert many.settings is not None, many.problems
    assert many.settings == one.settings
    assert list(many.settings.models) == list(one.settings.models)
    assert sorted((p.severity, p.text) for p in many.problems) == sorted((p.severity, p.text) for p in one.problems)
