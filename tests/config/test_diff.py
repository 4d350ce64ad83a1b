"""What a new configuration changes, and which ports stay."""

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


def test_ports_that_are_taken_stay_and_nobody_else_gets_them() -> None:
    assert settings(BASE).ports == {"a": 5800, "b": 5801}
    text = BASE.replace("models:\n", "models:\n  A: {cmd: 'sh ${PORT}'}\n")
    assert settings(text).ports == {"A": 5800, "a": 5801, "b": 5802}
    loaded = load_text(text, ports={"a": 5800, "gone": 5801})
    assert loaded.settings is not None
    assert loaded.settings.ports == {"a": 5800, "A": 5802, "b": 5803}
