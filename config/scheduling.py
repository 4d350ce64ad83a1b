"""What the scheduler reads of a configuration, as plain values under the keys of the file.

``load_text`` of it, as JSON, gives the same rules again: recordings carry it, and the simulator changes it. Nothing
that starts a model is in it: no command, no environment, no address, no key. Called by ``supervisor/recording/``.
"""

from typing import Any

from config.routing import SECTIONS
from config.types import ModelSettings, Settings

NO_COMMAND = "recorded"
NO_ADDRESS = "http://127.0.0.1:9"
"""Stand where the language wants a command and an address."""


def scheduling(settings: Settings) -> dict[str, Any]:
    """Models with their limits, and routing with the settings of policy and eviction rule."""
    routing = settings.routing
    section = SECTIONS.get(routing.eviction, routing.eviction)
    rule = {key: value for key, value in routing.eviction_settings.items() if key != "program"}
    return {
        "models": {name: _model(model) for name, model in settings.models.items()},
        "routing": {
            "scheduler": {"use": routing.policy, "settings": {routing.policy: dict(routing.policy_settings)}},
            "router": {"use": routing.eviction, "settings": {section: rule} if rule else {}},
        },
        "reloadDrainTimeout": _number(settings.reload_drain_timeout),
    }


def _model(model: ModelSettings) -> dict[str, Any]:
    return {
        "cmd": NO_COMMAND,
        "proxy": NO_ADDRESS,
        "aliases": list(model.aliases),
        "ttl": _number(model.ttl),
        "concurrencyLimit": model.concurrency_limit,
        "queueLimit": model.queue_limit,
        "queueTimeout": _number(model.queue_timeout),
        **({"memory": dict(model.memory)} if model.memory else {}),
        **({"pinned": True} if model.pinned else {}),
        **({"evictCost": model.evict_cost} if model.evict_cost != 1 else {}),
    }


def _number(seconds: float) -> float | int:
    """Whole seconds as the language writes them."""
    return int(seconds) if seconds.is_integer() else seconds
