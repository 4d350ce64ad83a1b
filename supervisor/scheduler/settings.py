"""Reading the settings of policies and eviction rules: values that fit, and the problem of each that does not.

``settings`` is a mapping as it stood in the file; every reader returns a usable value and adds to
``problems``. For use in ``parse``.
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any

from protocol.ids import ModelId
from supervisor.scheduler.contracts import Models, SettingProblem

LEAST_WEIGHT, MOST_WEIGHT = 0.01, 100.0


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def unknown(settings: Mapping[str, Any], known: tuple[str, ...]) -> list[SettingProblem]:
    """A problem for each key that is none of ``known``."""
    return [
        SettingProblem(key, f"there is no such setting{suggestion(key, known) or '; known: ' + ', '.join(known)}")
        for key in settings
        if key not in known
    ]


def seconds(settings: Mapping[str, Any], key: str, default: float, problems: list[SettingProblem]) -> float:
    """A number of seconds, 0 or more."""
    value = settings.get(key)
    if value is None:
        return default
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return float(value)
    problems.append(SettingProblem(key, f"found {value!r}, expected a number of seconds, 0 or more"))
    return default


def positive(settings: Mapping[str, Any], key: str, default: float, unit: str, problems: list[SettingProblem]) -> float:
    """A number of ``unit``, more than 0."""
    value = settings.get(key)
    if value is None:
        return default
    if _is_positive(value):
        return float(value)
    problems.append(SettingProblem(key, f"found {value!r}, expected a number of {unit}, more than 0"))
    return default


def times(settings: Mapping[str, Any], key: str, default: float, of: str, problems: list[SettingProblem]) -> float:
    """How many times ``of``, 1 or more."""
    value = settings.get(key)
    if value is None:
        return default
    if _is_positive(value) and value >= 1:
        return float(value)
    problems.append(SettingProblem(key, f"found {value!r}, expected how many times {of}, 1 or more"))
    return default


def weights(settings: Mapping[str, Any], key: str, problems: list[SettingProblem]) -> dict[str, float]:
    """Names of callers with numbers."""
    given = settings.get(key)
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        problems.append(SettingProblem(key, "expected a mapping of callers to numbers"))
        return {}
    found: dict[str, float] = {}
    for caller, value in given.items():
        if _is_positive(value) and LEAST_WEIGHT <= value <= MOST_WEIGHT:
            found[str(caller)] = float(value)
        else:
            text = f"found {value!r}, expected a number from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}"
            problems.append(SettingProblem(f"{key}.{caller}", text))
    return found


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def names_of(models: Models) -> dict[str, ModelId]:
    """Every name of every model; an id wins over an equal alias."""
    names = {alias: model for model, declared in models.items() for alias in declared.aliases}
    return names | {str(model): model for model in models}


def priorities(
    settings: Mapping[str, Any], key: str, names: Mapping[str, ModelId], problems: list[SettingProblem]
) -> dict[ModelId, int]:
    """Names of models, aliases among them, with whole numbers."""
    given = settings.get(key)
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        problems.append(SettingProblem(key, "expected a mapping of model names to numbers"))
        return {}
    found: dict[ModelId, int] = {}
    for name, value in given.items():
        path = f"{key}.{name}"
        model = names.get(name)
        if model is None:
            problems.append(SettingProblem(path, f"there is no model {name!r}{suggestion(name, names)}"))
        elif not isinstance(value, int) or isinstance(value, bool):
            problems.append(SettingProblem(path, f"found {value!r}, expected a whole number, higher first"))
        elif found.setdefault(model, value) != value:
            problems.append(
                SettingProblem(path, f"model {model!r} has priority {found[model]} already, by another name")
            )
    return found
