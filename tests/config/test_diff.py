"""What a new configuration changes, and which ports stay."""

from config import keys
from config.check import load_text
from config.diff import Change, ModelChange, difference
from config.types import Settings

BASE = """\
models:
  a: {cmd: "sh --port ${PORT}", ttl: 5}
  b: {cmd: "sh --port ${PORT}"}
"""


def settings(text: str) -> Settings:
    loaded = load_text(text)
    assert loaded.settings is not None, loaded.problems
    return loaded.settings


def test_the_same_file_changes_nothing() -> None:
    found = difference(settings(BASE), settings(BASE))
    assert (found.models, found.sections) == ((), ())


def test_what_a_process_was_started_with_makes_it_restart_and_all_else_does_not() -> None:
    new = settings(BASE.replace("ttl: 5", "ttl: 6, name: x").replace('b: {cmd: "sh', 'b: {cmd: "sh -x'))
    found = difference(settings(BASE), new)
    assert found.models == (
        ModelChange("a", Change.IN_PLACE, ("ttl", "name")),
        ModelChange("b", Change.RESTART, ("cmd",)),
    )
    assert found.restarting == {"b"}


def test_added_and_removed_models_and_sections_are_named() -> None:
    new = settings(
        "apiKeys: [k]\nlogLevel: debug\nmodels:\n  a: {cmd: 'sh --port ${PORT}', ttl: 5}\n  c: {cmd: 'sh ${PORT}'}\n"
    )
    found = difference(settings(BASE), new)
    assert found.models == (ModelChange("c", Change.ADDED), ModelChange("b", Change.REMOVED))
    assert found.sections == ("logLevel", "apiKeys")


def test_every_top_level_key_but_defaults_for_models_shows_when_it_changes() -> None:
    changed = {
        "routing": "{scheduler: {settings: {fifo: {maxWait: 5}}}}",
        "logLevel": "debug",
        "apiKeys": "[k]",
        "gateway": "{bodyLimit: 1MiB}",
        "peers": "{p: {proxy: 'http://h', models: [m]}}",
        "profiles": "{p: {pins: {x: a}}}",
        "selectors": "{s: {strategy: pin, targets: [a]}}",
        "includeAliasesInList": "true",
        "reloadDrainTimeout": "5",
        "hooks": "{on_startup: {preload: [a]}}",
        "upstream": "{ignorePaths: [x]}",
        "ui": "{activity: {session_id: []}}",
        "store": "{path: /tmp/swapyard-test.db}",
        "performance": "{disabled: true}",
        "logRequests": "true",
        "logTimeFormat": "kitchen",
        "logToStdout": "both",
        "metricsMaxInMemory": "5",
        "captureBuffer": "0",
    }
    for key, value in changed.items():
        assert difference(settings(BASE), settings(f"{BASE}{key}: {value}\n")).sections == (key,)
    elsewhere = {
        "macros", "models", "groups", "matrix", "startPort", "healthCheckTimeout", "unloadTimeout", "globalTTL",
        "sendLoadingState",
    }  # fmt: skip
    assert changed.keys() | elsewhere == keys.TOP.keys()


def test_ports_that_are_taken_stay_and_nobody_else_gets_them() -> None:
    assert settings(BASE).ports == {"a": 5800, "b": 5801}
    text = BASE.replace("models:\n", "models:\n  A: {cmd: 'sh ${PORT}'}\n")
    assert settings(text).ports == {"A": 5800, "a": 5801, "b": 5802}
    loaded = load_text(text, ports={"a": 5800, "gone": 5801})
    assert loaded.settings is not None
    assert loaded.settings.ports == {"a": 5800, "A": 5802, "b": 5803}
