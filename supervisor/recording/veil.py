"""Names of models and callers as keyed hashes, for recordings that are to be shown to others.

The same name is the same hash within one recording and another one in the next: the key is random, and only here.
Texts are left out as a whole, because they are made of names. What parts of third parties keep is hidden as far as it
names models, or callers who wait or stand in a mapping that ours use, too. Called by ``lines.py``.
"""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from protocol.ids import ModelId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev

_KNOWN = 10_000
"""Hashes that are kept; a name beyond that is hashed again."""
_SET_NAME = re.compile(r"\+?[\w.\-]+")
_BY_CALLER = ("accounts", "callers", "weights")
"""Mappings with callers for keys, in the settings and accounts of policies (``policies/``)."""


class Veil:
    """Hides names; a model and a caller of the same name have the same hash."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)
        self._names: set[str] = set()
        """To be hidden wherever they stand in what a policy or rule keeps."""
        self._hashed = lru_cache(_KNOWN)(self._hash)

    def _hash(self, name: str) -> str:
        return f"name-{blake2b(name.encode(), key=self._key, digest_size=6).hexdigest()}"

    def model(self, name: str) -> ModelId:
        """A model, by whatever name."""
        return ModelId(self._hashed(name))

    def caller(self, name: str) -> str:
        """Who asks; nobody stays nobody."""
        return self._hashed(name) if name else ""

    # What happens

    def event(self, event: ev.Event) -> ev.Event:
        """Everything but rules, which are written as a configuration."""
        match event:
            case ev.RequestArrived():
                return replace(event, model=self.model(event.model), caller=self.caller(event.caller))
            case ev.UnloadAsked(models=models):
                return replace(event, models=None if models is None else tuple(map(self.model, models)))
            case ev.ModelStartFailed() | ev.ModelExited():
                return replace(event, model=self.model(event.model), reason="")
            case ev.ExchangesReported() | ev.ModelReady() | ev.StopOverdue() | ev.LoadAsked() | ev.ResetAsked():
                return replace(event, model=self.model(event.model))
            case ev.RulesChanged():
                return replace(event, changed=frozenset(map(self.model, event.changed)))
            case _:
                return event

    def effects(self, effects: Sequence[do.Effect]) -> list[do.Effect]:
        """Without notes, which are nothing but text."""
        return [self._effect(effect) for effect in effects if not isinstance(effect, do.Note)]

    def _effect(self, effect: do.Effect) -> do.Effect:
        match effect:
            case do.StartModel() | do.StopModel() | do.Grant() | do.Recall():
                return replace(effect, model=self.model(effect.model))
            case do.Refuse() | do.Answer():
                return replace(effect, text="")
            case _:
                return effect

    # What is

    def config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What ``config/scheduling.py`` made."""
        models, routing = config["models"], config["routing"]
        self._names = {*models, *(alias for model in models.values() for alias in model["aliases"])}
        scheduler, router = routing["scheduler"], routing["router"]
        return {
            **config,
            "models": {self.model(name): self._model(model) for name, model in models.items()},
            "routing": {
                "scheduler": {**scheduler, "settings": self._settings(scheduler["settings"])},
                "router": {**router, "settings": self._router(router["settings"])},
            },
        }

    def _model(self, model: Mapping[str, Any]) -> dict[str, Any]:
        return {**model, "aliases": [self.model(alias) for alias in model["aliases"]]}

    def _settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Of policies or rules by name; the keys of each are words of the language."""
        return {part: {key: self._inside(key, value) for key, value in of.items()} for part, of in settings.items()}

    def _router(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Groups and sets may have names of models; sets name models in expressions, by short names of their own."""
        if "groups" in settings:
            groups = settings["groups"]
            return {
                "groups": {
                    self._plain(name): {**of, "members": self._plain(of["members"])} for name, of in groups.items()
                }
            }
        if "matrix" not in settings:
            return self._settings(settings)
        matrix = settings["matrix"]
        sets = {self._plain(name): self._expression(text, matrix["vars"]) for name, text in matrix["sets"].items()}
        return {"matrix": {"vars": {}, "evict_costs": self._keys(matrix["evict_costs"]), "sets": sets}}

    def _expression(self, text: str, short: Mapping[str, str]) -> str:
        def hidden(found: re.Match[str]) -> str:
            name = found[0]
            return f"+{self._plain(name[1:])}" if name.startswith("+") else self.model(short.get(name, name))

        return _SET_NAME.sub(hidden, text)

    def _plain(self, value: Any) -> Any:
        """Settings and accounts of policies and rules: a known name is hidden wherever it stands."""
        match value:
            case str():
                return self._hashed(value) if value in self._names else value
            case Mapping():
                return {self._plain(key): self._inside(key, entry) for key, entry in value.items()}
            case list() | tuple():
                return [self._plain(entry) for entry in value]
            case _:
                return value

    def _inside(self, key: str, value: Any) -> Any:
        if key in _BY_CALLER and isinstance(value, Mapping):
            return {self.caller(name): self._plain(entry) for name, entry in value.items()}
        return self._plain(value)

    def snapshot(self, snapshot: Mapping[str, Any]) -> dict[str, Any]:
        """What ``Core.snapshot`` returned; after ``config``."""
        models, claim = snapshot["models"], snapshot["claim"]
        self._names |= _callers(snapshot)
        hide = self._rows
        return {
            **snapshot,
            "models": hide(
                models, id=self.model, blocked_by=self._several, displaced=self._several, failures=_without_reason
            ),
            "waiters": hide(snapshot["waiters"], model=self.model, caller=self.caller),
            "leases": hide(snapshot["leases"], model=self.model, caller=self.caller),
            "plans": hide(snapshot["plans"], target=self.model, victims=self._several),
            "claim": claim and hide([claim], target=self.model, draining=self._several)[0],
            "unjudged": self._several(snapshot["unjudged"]),
            "timers": [[*entry[:3], entry[3] and self.model(entry[3])] for entry in snapshot["timers"]],
            "orders": hide(snapshot["orders"], pending=self._keys, stuck=lambda texts: ["" for _ in texts]),
            "policy": self._inside("policy", snapshot["policy"]),
            "eviction": self._inside("eviction", snapshot["eviction"]),
        }

    @staticmethod
    def _rows(rows: Sequence[Mapping[str, Any]], **hide: Callable[[Any], Any]) -> list[dict[str, Any]]:
        return [{key: hide.get(key, _same)(value) for key, value in row.items()} for row in rows]

    def _several(self, names: Sequence[str]) -> list[ModelId]:
        return [self.model(name) for name in names]

    def _keys(self, counts: Mapping[str, Any]) -> dict[str, Any]:
        return {self.model(name): count for name, count in counts.items()}


def _callers(snapshot: Mapping[str, Any]) -> set[str]:
    """Everybody who waits or has an account."""
    found = {row["caller"] for row in snapshot["waiters"]}
    open_parts: list[Any] = [snapshot["policy"], snapshot["eviction"]]
    while open_parts:
        part = open_parts.pop()
        if isinstance(part, Mapping):
            found.update(*(entry for key, entry in part.items() if key in _BY_CALLER and isinstance(entry, Mapping)))
            open_parts += part.values()
    return found - {""}


def _without_reason(account: Mapping[str, Any]) -> dict[str, Any]:
    return {**account, "last_reason": ""}


def _same(value: Any) -> Any:
    return value
