"""Schema and loader say the same of a file, but for the rules that a schema cannot say (``beyond_schema.py``)."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from config import keys
from config.check import load_text
from config.errors import Problems
from config.json_schema import schema
from config.load import Loader
from config.values import plain
from tests.config.beyond_schema import BEYOND, beyond
from tools.schema import text

ROOT = Path(__file__).parents[2]
VALIDATOR = Draft202012Validator(schema())
STRICT = Draft202012Validator(schema(strict=True))


def instance(text: str) -> Any:
    """A file as the validator of an editor sees it."""
    tree = Loader(Problems()).parse(text, Path("x"))
    assert tree is not None
    return json.loads(json.dumps(plain(tree)))


def test_the_schema_in_the_repository_is_the_one_that_the_command_prints() -> None:
    assert (ROOT / "config-schema.json").read_text() == text()


@pytest.mark.parametrize("strict", [False, True])
def test_the_schema_is_one_and_every_property_says_what_it_is_for(strict: bool) -> None:
    found = schema(strict=strict)
    Draft202012Validator.check_schema(found)
    for name, key in keys.TOP.items():
        assert found["properties"][name]["description"] == key.says
    undescribed = [name for name, entry in found["properties"]["models"]["additionalProperties"]["properties"].items()
                   if not entry.get("description")]  # fmt: skip
    assert undescribed == []


@pytest.mark.parametrize("example", sorted(path.name for path in ROOT.glob("config*.example.yaml")))
def test_the_examples_fit_the_schema_with_no_unknown_key(example: str) -> None:
    errors = [error.message for error in STRICT.iter_errors(instance((ROOT / example).read_text()))]
    assert errors == []


BASE = "models: {a: {cmd: 'sh ${PORT}'}, b: {cmd: 'sh ${PORT}'}}\n"
ROUTER = BASE + "routing: {router: %s}\n"


@pytest.mark.parametrize(
    "written",
    [
        BASE + "groups: {g: {members: [a]}}\nmatrix: {sets: {s: a & b}}",
        BASE + "groups: {g: {members: [a]}}\nrouting: {router: {use: group}}",
        BASE + "matrix: {sets: {s: a}}\nrouting: {router: {settings: {groups: {g: {members: [b]}}}}}",
        BASE + "matrix: {sets: {}}",
        ROUTER % "{use: matrix}",
        ROUTER % "{use: memory, settings: {memory: ~}}",
        ROUTER % "{settings: {groups: {g: {members: [a]}}, matrix: {sets: {s: a}}}}",
        ROUTER % "{use: memory, settings: {matrix: {sets: {s: a}}, memory: {devices: {g: 1GiB}}}}",
        "startPort: 0",
        "startPort: 65536",
        "globalTTL: -1",
        "apiKeys: ['']",
        "apiKeys: [a b]",
        "apiKeys: [~]",
        "logToStdout: everywhere",
        "macros: {PORT: 1}",
        "macros: {'a b': 1}",
        "macros: {a: [1]}",
        "performance: {every: 5}",
        "store: {path: ' '}",
        "models: {a: {}}",
        "models: {a: ~}",
        "models: {' ': {cmd: sh}}",
        "models: {a: {cmd: 'sh ${PORT}', ttl: -2}}",
        "models: {a: {cmd: 'sh ${PORT}', capabilities: {in: [smell]}}}",
        "models: {a: {cmd: 'sh ${PORT}', proxy: 'ftp://x'}}",
        "peers: {p: {proxy: 'http://h', models: []}}",
        "profiles: {p: {pins: {}}}",
        BASE + "selectors: {s: {strategy: best, targets: [a]}}",
        BASE + "selectors: {s: {strategy: spillover, targets: [a], settings: {spillover: 0}}}",
    ],
)
def test_what_both_refuse(written: str) -> None:
    assert load_text(written).settings is None
    assert not VALIDATOR.is_valid(instance(written))


@pytest.mark.parametrize(
    "written",
    [
        "",
        "models: ~\ngroups: ~\nmatrix: ~\nrouting: {router: {settings: {matrix: ~}}}",
        BASE + "groups: {}\nmatrix: {sets: {s: a & b}}",
        ROUTER % "{use: matrix, settings: {groups: {}, matrix: {sets: {s: a & b}}}}",
        ROUTER % "{settings: {matrix: {sets: {s: a}}}}",
        "unheard-of: 1",
        "logLevel: shout",
        "macros: {t: 5}\nmodels: {a: {cmd: 'sh ${PORT}', ttl: '${t}', unlisted: 'yes', concurrencyLimit: 3.9}}",
        BASE + "selectors: {s: {strategy: pin, targets: [a], settings: {spillover: 0}}}",
    ],
)
def test_what_both_accept(written: str) -> None:
    assert load_text(written).settings is not None
    assert [error.message for error in VALIDATOR.iter_errors(instance(written))] == []


SCALARS = st.one_of(
    st.sampled_from(["a", "b", "", " ", "x y", "sh", "sh ${PORT}", "${MODEL_ID}", "yes", "64MiB", "0KiB", "5s", "4s",
                     "http://h", "http://h:0", "none", "warm", "pin", "spillover", "text", "N=v", "both", "(", "a & b",
                     "group", "matrix", "memory", "fifo", "window"]),
    st.integers(-3, 70_000), st.floats(-3, 9, width=16), st.booleans(), st.none(),
)  # fmt: skip
LOOSE = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.sampled_from("ab"), SCALARS, max_size=2))


def of_schema(found: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that are nearly what a part of the schema wants."""
    kinds = found.get("type", ())
    if "object" in kinds and depth < 6:
        known = {name: of_schema(entry, depth + 1) for name, entry in found.get("properties", {}).items()}
        if known:
            needed = {name: known.pop(name) for name in found.get("required", ())}
            some = st.lists(st.sampled_from([*known]), max_size=3, unique=True) if known else st.just([])
            return some.flatmap(lambda names: st.fixed_dictionaries(needed | {name: known[name] for name in names}))
        free = of_schema(found.get("additionalProperties") or {}, depth + 1)
        return st.dictionaries(st.sampled_from(["a", "b", "g"]), free, max_size=2)
    if "array" in kinds:
        return st.lists(of_schema(found["items"], depth + 1), max_size=2)
    return SCALARS


def nearly(found: Any) -> st.SearchStrategy[Any]:
    """The same, now and then something else altogether."""
    return st.integers(0, 9).flatmap(lambda dice: LOOSE if dice == 0 else of_schema(found))


PARTS = {name: nearly(entry) for name, entry in schema()["properties"].items()}
TREES = st.lists(st.sampled_from([*keys.TOP]), max_size=4, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: PARTS[name] for name in dict.fromkeys([*names, "models"])})
)


def test_loader_and_schema_agree_on_files_that_nobody_wrote(tell: Callable[[str], None]) -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=400, derandomize=True, deadline=None)
    @given(TREES)
    def agree(tree: dict[str, Any]) -> None:
        written = json.dumps(tree)
        loaded = load_text(written)
        fits = VALIDATOR.is_valid(instance(written))
        if loaded.settings is not None:
            seen["both accept"] += 1
            assert fits, [error.message for error in VALIDATOR.iter_errors(instance(written))]
        elif fits:
            seen["beyond a schema"] += 1
            assert beyond(loaded), [problem.text for problem in loaded.problems]
        else:
            seen["both refuse"] += 1

    agree()
    tell(str(dict(seen)))
    assert all(seen[kind] > 20 for kind in ("both accept", "beyond a schema", "both refuse"))


def test_the_list_of_what_a_schema_cannot_say_has_no_empty_words() -> None:
    assert all(re.compile(pattern) and reason for reason, pattern in BEYOND.items())
