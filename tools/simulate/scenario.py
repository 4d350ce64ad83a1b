"""One thing to simulate, and one run of it under one policy.

A ``Scenario`` is a configuration, traffic and what swaps cost. A ``Choice`` is a policy with its settings: one of the
registry, of a third party, or a reference row (``references.py``). Everything but the policy is the configuration's:
eviction rule, limits, budgets.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from config.types import Routing, Settings
from protocol.ids import ModelId
from supervisor.scheduler.configured import RulesRefused, rules_of
from supervisor.scheduler.contracts import Policy, SettingProblem
from supervisor.scheduler.registry import POLICIES, Unusable, find
from supervisor.scheduler.state import Rules
from tools.simulate.measures import Record
from tools.simulate.references import PRESETS, REFERENCES
from tools.simulate.world import FOREVER, Arrival, Cost, Watcher, World


class BadScenario(Exception):
    """What was asked for cannot be simulated; the text is for people."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """``arrivals`` in the order of time; it and each loop can be gone through again and again."""

    settings: Settings
    arrivals: Iterable[Arrival]
    costs: Mapping[str, Cost]
    loops: Sequence[Sequence[Arrival]] = ()
    seed: int = 0
    until: float = FOREVER


@dataclass(frozen=True, slots=True)
class Choice:
    """A policy by name; ``text`` is how it was asked for."""

    text: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> "Choice":
        """Of ``NAME`` or ``NAME:KEY=VALUE:KEY=VALUE``; values are JSON, or text."""
        name, *given = text.split(":")
        settings: dict[str, Any] = {}
        for pair in given:
            key, equals, value = pair.partition("=")
            if not equals or not key:
                raise BadScenario(f"policy {text!r}: found {pair!r}, expected KEY=VALUE")
            settings[key] = _value(value)
        return cls(text, name, settings)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def run(scenario: Scenario, choice: Choice, watcher: Watcher | None = None) -> Record:
    """Simulate once. ``BadScenario`` if the policy or its settings are not usable."""
    world = World(rules_for(scenario.settings, choice), scenario.costs, seed=scenario.seed, watcher=watcher)
    return world.run(scenario.arrivals, scenario.loops, until=scenario.until)


def rules_for(settings: Settings, choice: Choice) -> Rules:
    """The rules of a configuration with another policy. Settings that were not given are the configuration's."""
    name, preset = PRESETS.get(choice.name, (choice.name, {}))
    own = settings.routing.policy_settings if choice.name == settings.routing.policy else {}
    routing = replace(settings.routing, policy="fifo", policy_settings={})
    try:
        rules = rules_of(_Routed(settings, routing), parking=False)
    except RulesRefused as refused:
        raise BadScenario(str(refused)) from None
    return replace(rules, policy=_policy(settings, name, {**own, **preset, **choice.settings}, choice.text))


def _policy(settings: Settings, name: str, given: Mapping[str, Any], text: str) -> Policy:
    try:
        kind = find("policy", name, {**POLICIES, **REFERENCES}, "swapyard.policies")
    except Unusable as error:
        raise BadScenario(str(error)) from None
    policy, problems = kind.parse(given, {ModelId(model): entry for model, entry in settings.models.items()})
    if problems:
        raise BadScenario(f"policy {text!r}: {_first(problems)}")
    return policy


def _first(problems: Sequence[SettingProblem]) -> str:
    return f"{problems[0].path}: {problems[0].text}"


@dataclass(frozen=True, slots=True)
class _Routed:
    """A configuration with another routing (``configured.Configured``)."""

    settings: Settings
    routing: Routing

    @property
    def models(self) -> Mapping[str, Any]:
        return self.settings.models
