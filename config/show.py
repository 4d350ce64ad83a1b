"""A resolved configuration as plain values under the keys of the file: after macros and defaults, secrets masked.

For people who want to see what their file means, and for programs. Called by ``swapyard check --print``.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

from config.routing import SECTIONS
from config.types import ModelSettings, Settings

MASK = "***"
_SECRET_NAME = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)
_SECRET_OPTION = re.compile(r"--?[\w-]*(?:key|token|secret|password)", re.IGNORECASE)
_FILE_OPTION = re.compile(r"(?:file|path|dir)$", re.IGNORECASE)


def shown(settings: Settings) -> dict[str, Any]:
    """Everything, under the keys of the file; what is not built yet is empty."""
    routing = settings.routing
    section = SECTIONS.get(routing.eviction, routing.eviction)
    rule = {key: value for key, value in routing.eviction_settings.items() if key != "program"}
    return {
        "models": {name: model(entry) for name, entry in settings.models.items()},
        "groups": rule if routing.eviction == "group" else {},
        "matrix": rule if routing.eviction == "matrix" else None,
        "selectors": {},
        "profiles": {},
        "peers": {},
        "routing": {
            "scheduler": {"use": routing.policy, "settings": {routing.policy: dict(routing.policy_settings)}},
            "router": {"use": routing.eviction, "settings": {section: rule}},
        },
        "hooks": {},
        "apiKeys": [MASK for _ in settings.api_keys],
        "logLevel": settings.log_level,
        "reloadDrainTimeout": settings.reload_drain_timeout,
        "gateway": {_camel(name): value for name, value in asdict(settings.gateway).items()},
    }


def model(settings: ModelSettings) -> dict[str, Any]:
    """One model; ``cmd`` and ``cmdStop`` as lists of arguments."""
    found = {_camel(entry.name): getattr(settings, entry.name) for entry in fields(settings) if entry.name != "id"}
    found["cmd"] = list(_masked(settings.cmd))
    found["cmdStop"] = None if settings.cmd_stop is None else list(_masked(settings.cmd_stop))
    found["env"] = [f"{name}={MASK if _SECRET_NAME.search(name) else value}" for name, value in settings.env]
    found["aliases"] = list(settings.aliases)
    found["checkEndpoint"] = settings.check_endpoint or "none"
    found["memory"] = dict(settings.memory)
    return found


def _masked(words: tuple[str, ...]) -> Iterator[str]:
    """Arguments, without what follows an option that is named like a secret."""
    hide = False
    for word in words:
        option, equals, _ = word.partition("=")
        secret = bool(_SECRET_OPTION.fullmatch(option)) and not _FILE_OPTION.search(option)
        if hide and not word.startswith("-"):
            yield MASK
        elif secret and equals:
            yield f"{option}={MASK}"
        else:
            yield word
        hide = secret and not equals


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
