"""What changes from one configuration to the next, model by model (design.md section 8: reload by difference).

A model whose process was started otherwise than it would be now has to restart; all else changes in place.
Called by ``supervisor/reload.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum

from config.types import ModelSettings, Settings

RESTARTING = frozenset({"cmd", "env", "proxy"})
"""Fields that a running process has been started with. Timeouts and stop commands count from the next start on."""
_SECTIONS = {
    "routing": "routing", "log_level": "logLevel", "api_keys": "apiKeys", "gateway": "gateway", "peers": "peers",
    "profiles": "profiles", "selectors": "selectors", "include_aliases_in_list": "includeAliasesInList",
    "reload_drain_timeout": "reloadDrainTimeout",
}  # fmt: skip
"""Fields of ``Settings`` and their keys. Defaults for all models show in the models that they change."""
_LATER = {
    "preload": "hooks", "ignore_paths": "upstream", "session_headers": "ui", "store_path": "store",
    "performance": "performance", "log_requests": "logRequests", "log_time_format": "logTimeFormat",
    "log_to_stdout": "logToStdout", "metrics_max_in_memory": "metricsMaxInMemory", "capture_buffer": "captureBuffer",
}  # fmt: skip


class Change(StrEnum):
    """What becomes of a model."""

    ADDED = "added"
    REMOVED = "removed"
    RESTART = "restart"
    IN_PLACE = "in place"


@dataclass(frozen=True, slots=True)
class ModelChange:
    """One model that does not stay as it is. ``what``: names of fields."""

    model: str
    change: Change
    what: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """Models in the order of the new configuration, removed ones last; ``sections``: top-level keys."""

    models: tuple[ModelChange, ...]
    sections: tuple[str, ...]

    @property
    def restarting(self) -> frozenset[str]:
        """Models whose process has to end."""
        return frozenset(entry.model for entry in self.models if entry.change is Change.RESTART)


def difference(old: Settings, new: Settings) -> Difference:
    """From ``old`` to ``new``."""
    found = [change for name, model in new.models.items() if (change := _of_model(old.models.get(name), model))]
    found += [ModelChange(name, Change.REMOVED) for name in old.models if name not in new.models]
    sections = (*_differing(old, new, _SECTIONS), *_differing(old.later, new.later, _LATER))
    return Difference(tuple(found), sections)


def _differing(old: object, new: object, keys: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(key for name, key in keys.items() if getattr(old, name) != getattr(new, name))


def _of_model(old: ModelSettings | None, new: ModelSettings) -> ModelChange | None:
    if old is None:
        return ModelChange(new.id, Change.ADDED)
    what = tuple(entry.name for entry in fields(new) if getattr(old, entry.name) != getattr(new, entry.name))
    if not what:
        return None
    return ModelChange(new.id, Change.RESTART if RESTARTING.intersection(what) else Change.IN_PLACE, what)
