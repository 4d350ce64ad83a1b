"""The configuration that a recording was made under, and what becomes of it when one setting is another one.

The same way as at ``serve``: the configuration language, then the ``parse`` of policy and eviction rule. So a change of
one setting, by its path in the file, is checked like a file. Called by ``replay.py`` and ``what_if.py``.
"""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from config.check import load_text
from config.errors import Severity
from config.types import Settings
from protocol.recording import RecordingError
from supervisor.scheduler.configured import RulesRefused, rules_of
from supervisor.scheduler.state import Rules

PLACE = Path("recording")
"""Where problems of a recorded configuration stand."""
UNKNOWN = "there is no such key"
"""How ``config/keys.py`` tells of one."""


class BadChange(Exception):
    """A setting that cannot be changed so; the text is for people."""


def settings_of(config: Mapping[str, Any]) -> Settings:
    """What ``config/scheduling.py`` made, as settings again. ``RecordingError`` has a line for each problem."""
    loaded = load_text(msgspec.json.encode(config).decode(), PLACE)
    if loaded.settings is None:
        errors = [f"{found.where}: {found.text}" for found in loaded.problems if found.severity is Severity.ERROR]
        raise RecordingError("\n".join(errors))
    return loaded.settings


def recorded_rules(config: Mapping[str, Any]) -> Rules:
    """The rules, as the supervisor had them."""
    try:
        return rules_of(settings_of(config))
    except RulesRefused as refused:
        raise RecordingError(str(refused)) from None


def changed(config: Mapping[str, Any], changes: list[str]) -> Settings:
    """The settings after ``PATH=VALUE`` …; values are JSON, or text. ``BadChange`` for what the language refuses.

    A path is the one in the file: ``routing.scheduler.settings.fifo.maxWait``, ``models.chat.concurrencyLimit``.
    """
    found = copy.deepcopy(dict(config))
    for change in changes:
        path, equals, value = change.partition("=")
        if not equals or not path:
            raise BadChange(f"--set: found {change!r}, expected PATH=VALUE")
        _set(found, path, _value(value), change)
    loaded = load_text(json.dumps(found), PLACE)
    if loaded.settings is None:
        errors = [f"--set {found.where}: {found.text}" for found in loaded.problems if found.severity is Severity.ERROR]
        raise BadChange("\n".join(errors))
    # A key that is not in the language is only a warning in a file, and here it would change nothing.
    unknown = [f"--set {found.where}: {found.text}" for found in loaded.problems if UNKNOWN in found.text]
    if unknown:
        raise BadChange("\n".join(unknown))
    return loaded.settings


def _set(config: dict[str, Any], path: str, value: Any, change: str) -> None:
    """Follow the path; a key may have dots in it, as ids of models do."""
    here: Any = config
    while True:
        if not isinstance(here, dict):
            raise BadChange(f"--set {change}: there is nothing below a single value")
        key = max((key for key in here if path.startswith(f"{key}.")), key=len, default=None)
        if key is None or path in here:
            break
        here, path = here[key], path[len(key) + 1 :]
    *parents, last = [path] if path in here else path.split(".")
    for parent in parents:
        here = here.setdefault(parent, {})
    here[last] = value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
