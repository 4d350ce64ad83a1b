"""The JSON schema of a configuration file, made from the tables of ``keys.py``: for editors, and for people's tools.

It says of a file before macros what the loader says: types, ranges, words, patterns, what is needed and what
excludes what. It cannot know what a name refers to, what a macro stands for, or what the environment holds.
Called by ``swapyard schema``; ``config-schema.json`` is its output, and a test compares both with the loader.
"""

from collections.abc import Mapping
from typing import Any

from config import keys
from config.routing import SECTIONS

PLACEHOLDER = {"$ref": "#/$defs/placeholder"}
WITH_PLACEHOLDER = {"$ref": "#/$defs/withPlaceholder"}
_GIVEN_GROUPS = {"type": "object", "minProperties": 1}
_GIVEN = {"type": "object"}
DEFAULTS = frozenset({"group", "fifo"})
"""In use unless the file says otherwise."""


def schema(*, strict: bool = False) -> dict[str, Any]:
    """The schema, draft 2020-12. ``strict``: unknown keys are refused, as ``check --strict`` does."""
    top = _opened({"type": ["object", "null"], **keys.schema_of(keys.TOP)}, strict=strict)
    routing = top["properties"]["routing"]["properties"]
    used = {SECTIONS[rule]: _opened(reader.schema, strict=strict) for rule, reader in keys.EVICTION_SETTINGS.items()}
    rules = [_if_used(rule, section, used[section]) for rule, section in SECTIONS.items()]
    routing["router"]["allOf"] = [*_one_section(), *_needed_sections(), *rules]
    policies = {policy: _opened(reader.schema, strict=strict) for policy, reader in keys.POLICY_SETTINGS.items()}
    routing["scheduler"]["allOf"] = [_if_used(policy, policy, found) for policy, found in policies.items()]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of swapyard",
        **top,
        "allOf": _one_style(),
        "$defs": {
            "placeholder": {
                "description": "A macro, which gives the value its type, or a variable of the environment.",
                "type": "string",
                "pattern": r"^\$\{[a-zA-Z0-9_-]+\}$|\$\{env\.",
            },
            "withPlaceholder": {
                "description": "Text with a macro or a variable of the environment in it.",
                "type": "string",
                "pattern": r"\$\{[a-zA-Z0-9_.-]+\}",
            },
        },
    }


def _one_section() -> list[dict[str, Any]]:
    """Settings of two eviction rules at once: which of them counts?"""
    given = {section: _GIVEN_GROUPS if section == "groups" else _GIVEN for section in SECTIONS.values()}
    pairs = [(one, other) for one in given for other in given if one < other]
    return [_not_both({pair[0]: given[pair[0]], pair[1]: given[pair[1]]}, within="settings") for pair in pairs]


def _if_used(name: str, section: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a rule or a policy are looked at only if it is in use."""
    default = {"properties": {"use": {"enum": [name, None]}}}
    chosen = {"required": ["use"], "properties": {"use": {"const": name}}}
    return {
        "if": default if name in DEFAULTS else chosen,
        "then": {"properties": {"settings": {"properties": {section: found}}}},
    }


def _needed_sections() -> list[dict[str, Any]]:
    return [
        {
            "if": {"required": ["use"], "properties": {"use": {"const": rule}}},
            "then": {
                "required": ["settings"],
                "properties": {"settings": {"required": [rule], "properties": {rule: _GIVEN}, **_GIVEN}},
            },
        }
        for rule in ("matrix", "memory")
    ]


def _one_style() -> list[dict[str, Any]]:
    """``groups`` or ``matrix`` at the top level, or ``routing.router``: one of the three."""
    given = {section: _GIVEN_GROUPS if section == "groups" else _GIVEN for section in SECTIONS.values()}
    new = [_within("router", {"use": {"not": {"type": "null"}}})]
    new += [_within("router", {"settings": _having({section: given[section]})}) for section in given]
    both = _not_both({"groups": given["groups"], "matrix": given["matrix"]})
    mixed = [
        {"not": {"allOf": [_having({old: given[old]}), {"anyOf": [_having({"routing": part}) for part in new]}]}}
        for old in ("groups", "matrix")
    ]
    return [both, *mixed]


def _not_both(members: Mapping[str, Any], within: str | None = None) -> dict[str, Any]:
    found = _having(members)
    return {"not": found if within is None else _having({within: found})}


def _within(name: str, members: Mapping[str, Any]) -> dict[str, Any]:
    return _having({name: _having(members)})


def _having(members: Mapping[str, Any]) -> dict[str, Any]:
    """An object that has all of these members, each of this kind."""
    return {"type": "object", "required": list(members), "properties": dict(members)}


def _opened(found: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    """The schema of a value of a file: a placeholder may stand for every scalar."""
    kinds = found.get("type", ())
    if "object" in kinds:
        return _opened_object(found, strict=strict)
    if "array" in kinds:
        return {**found, "items": _opened(found["items"], strict=strict)}
    if "string" in kinds and "pattern" not in found:
        return dict(found)
    rest = {key: value for key, value in found.items() if key != "description"}
    said = {"description": found["description"]} if "description" in found else {}
    # A number comes from a macro alone; text may be put together.
    return {"anyOf": [rest, PLACEHOLDER if kinds == ["number", "null"] else WITH_PLACEHOLDER], **said}


def _opened_object(found: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    made = dict(found)
    if "properties" in found:
        made["properties"] = {key: _opened(value, strict=strict) for key, value in found["properties"].items()}
    if isinstance(found.get("additionalProperties"), Mapping):
        made["additionalProperties"] = _opened(found["additionalProperties"], strict=strict)
    elif strict and "properties" in found and "additionalProperties" not in found:
        made["additionalProperties"] = False
        made["patternProperties"] = {f"^{keys.FREE}": True}
    return made
