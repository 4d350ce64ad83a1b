"""Policies and eviction rules by name: ours, third parties' through entry points, and what is said of mistakes."""

import importlib
import sys
from pathlib import Path

import pytest

from config.types import ModelSettings, Routing
from protocol.ids import ModelId
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.policies.window import Window
from supervisor.scheduler.registry import build
from tests.support.strangers import install

MODELS = {
    ModelId("chat"): ModelSettings("chat", (), "", aliases=("gpt-4o", "default")),
    ModelId("embed"): ModelSettings("embed", (), ""),
}


def texts(routing: Routing) -> list[tuple[str, str]]:
    return [(problem.path, problem.text) for problem in build(routing, MODELS).problems]


def test_the_settings_of_fifo_take_aliases_and_name_every_mistake() -> None:
    built = build(Routing(policy_settings={"maxWait": 5, "minResident": 1.5, "priority": {"default": 7}}), MODELS)
    assert built.policy == Fifo(5.0, 1.5, {ModelId("chat"): 7})
    path = "routing.scheduler.settings.fifo"
    wrong = {
        "maxwait": 1,
        "maxWait": True,
        "minResident": -1,
        "priority": {"chat": 1, "gpt-4o": 2, "embde": 3, "embed": "high"},
    }
    assert texts(Routing(policy_settings=wrong)) == [
        (f"{path}.maxwait", "there is no such setting; did you mean 'maxWait'?"),
        (f"{path}.maxWait", "found True, expected a number of seconds, 0 or more"),
        (f"{path}.minResident", "found -1, expected a number of seconds, 0 or more"),
        (f"{path}.priority.gpt-4o", "model 'chat' has priority 1 already, by another name"),
        (f"{path}.priority.embde", "there is no model 'embde'; did you mean 'embed'?"),
        (f"{path}.priority.embed", "found 'high', expected a whole number, higher first"),
    ]
    assert texts(Routing(policy_settings={"priority": 3})) == [
        (f"{path}.priority", "expected a mapping of model names to numbers")
    ]


def test_the_settings_of_window_are_found_by_its_name() -> None:
    built = build(Routing(policy="window", policy_settings={"priority": {"default": 7}, "weights": {"x": 2}}), MODELS)
    assert isinstance(built.policy, Window)
    assert built.policy.settings.weights == {"x": 2.0}
    (problem,) = texts(Routing(policy="window", policy_settings={"maxWiat": 5}))
    assert problem == (
        "routing.scheduler.settings.window.maxWiat",
        "there is no such setting; did you mean 'maxWait'?",
    )


def test_unknown_names_list_the_known_ones() -> None:
    assert texts(Routing(policy="fiffo", eviction="memroy")) == [
        ("routing.scheduler.use", "there is no policy 'fiffo'; did you mean 'fifo'? (known: fifo, window)"),
        (
            "routing.router.use",
            "there is no eviction rule 'memroy'; did you mean 'memory'? (known: group, matrix, memory)",
        ),
    ]


@pytest.fixture
def strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's distribution is installed."""
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "stranger"]:
        monkeypatch.delitem(sys.modules, name)
    importlib.invalidate_caches()


@pytest.mark.usefixtures("strangers")
def test_third_parties_register_through_entry_points() -> None:
    built = build(Routing(policy="strict", eviction="lru", eviction_settings={"keep": 2}), MODELS)
    assert not built.problems
    assert built.policy is not None
    assert built.policy.name == "strict"
    assert built.eviction is not None
    assert built.eviction.name == "lru"
    wrong = Routing(eviction="lru", eviction_settings={"keep": 0}, eviction_path="routing.router.settings.lru")
    path = "routing.router.settings.lru.keep"
    assert texts(wrong) == [(path, "found 0, expected a number of models, 1 or more")]


@pytest.mark.usefixtures("strangers")
def test_a_strangers_class_that_cannot_be_used_is_named_and_is_no_traceback() -> None:
    assert texts(Routing(policy="broken", eviction="absent")) == [
        (
            "routing.scheduler.use",
            "the policy 'broken' (stranger.strict:Nothing_) cannot be loaded: "
            "AttributeError: module 'stranger.strict' has no attribute 'Nothing_'",
        ),
        (
            "routing.router.use",
            "the eviction rule 'absent' (stranger.nowhere:Rule) cannot be loaded: "
            "ModuleNotFoundError: No module named 'stranger.nowhere'",
        ),
    ]
    (problem,) = texts(Routing(policy="raising"))
    assert problem[1].endswith("cannot be loaded: RuntimeError: no licence")
    (problem,) = texts(Routing(policy="wrong"))
    assert problem[1].startswith("stranger.numbers:NUMBER is no policy: it has no parse")
    (problem,) = texts(Routing(policy="unknown"))
    assert "known: fifo, window, broken, raising, strict, wrong" in problem[1]
