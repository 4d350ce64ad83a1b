"""The rules that a recording was made under, built again from what it carries of the configuration.

The same way as at ``serve``: the configuration language, then the ``parse`` of policy and eviction rule. So a change of
one setting, by its path in the file, is checked like a file. Called by ``replay.py``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from config.check import load_text
from config.errors import Severity
from config.types import Settings
from protocol.ids import ModelId
from protocol.recording import RecordingError
from supervisor.scheduler.registry import build
from supervisor.scheduler.state import ModelRule, Rules

PLACE = Path("recording")
"""Where problems of a recorded configuration stand."""


def settings_of(config: Mapping[str, Any]) -> Settings:
    """What ``config/scheduling.py`` made, as settings again. ``RecordingError`` has a line for each problem."""
    loaded = load_text(msgspec.json.encode(config).decode(), PLACE)
    if loaded.settings is None:
        errors = [
            f"{problem.where}: {problem.text}" for problem in loaded.problems if problem.severity is Severity.ERROR
        ]
        raise RecordingError("\n".join(errors))
    return loaded.settings


def rules_of(settings: Settings) -> Rules:
    """What the core decides by, as ``supervisor/rules.py`` makes it (a test compares)."""
    built = build(settings.routing, {ModelId(name): model for name, model in settings.models.items()})
    if built.problems or built.policy is None or built.eviction is None:
        raise RecordingError("\n".join(f"{problem.path}: {problem.text}" for problem in built.problems))
    pins = settings.routing.eviction not in ("group", "matrix")
    models = {
        ModelId(name): ModelRule(
            limit=model.concurrency_limit,
            queue_limit=model.queue_limit,
            queue_timeout=model.queue_timeout,
            ttl=model.ttl,
            pinned=pins and model.pinned,
        )
        for name, model in settings.models.items()
    }
    return Rules(models, built.policy, built.eviction, parking=True)


def recorded_rules(config: Mapping[str, Any]) -> Rules:
    """Both steps."""
    return rules_of(settings_of(config))
