"""Traces: requests in a file, one JSON object a line.

| key | means |
| --- | --- |
| `at` | when it comes, in seconds from any origin |
| `model` | an id or an alias of the configuration |
| `service` | how long its exchange takes, in seconds |
| `caller` | who asks (optional) |
| `cancelAfter` | its client leaves so many seconds after it came (optional) |
| `deadline` | it may wait so many seconds at most (optional) |

Lines may come in any order; of equal times the first line is first. Empty lines, and those that begin with ``#``, say
nothing. A trace is kept in compact arrays, 44 bytes a request, because each policy reads it anew.
"""

import json
import math
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from config.errors import printable
from supervisor.scheduler.settings import suggestion
from tools.simulate.world import Arrival

LONGEST_LINE = 64 * 1024
MOST_REQUESTS = 10_000_000
LONGEST_TIME = 1e12
"""Seconds: times of the clock fit, and a microsecond of them is still told apart."""
LONGEST_NAME = 200
"""How much of a misspelt name is compared with the known ones."""
EXAMPLE = '{"at": 0, "model": "chat", "service": 2.5}'
REQUIRED = ("at", "model", "service")
KEYS = (*REQUIRED, "caller", "cancelAfter", "deadline")
_NONE = -1.0


class BadTrace(Exception):
    """The file cannot be used; the text names file and line."""


class Trace:
    """Requests in the order of time; may be gone through any number of times."""

    def __init__(self) -> None:
        self._numbers = [array("d") for _ in range(4)]
        """Columns: at, service, cancel after, deadline; the last two -1 if not given."""
        self._models = array("I")
        self._callers = array("I")
        self._names: dict[str, int] = {}
        self._order: array[int] | range = range(0)

    def add(self, arrival: Arrival) -> None:
        """One more, in any order; ``sort`` follows."""
        given = (arrival.at, arrival.service, arrival.cancel_after, arrival.deadline)
        for column, number in zip(self._numbers, given, strict=True):
            column.append(_NONE if number is None else number)
        self._models.append(self._names.setdefault(arrival.model, len(self._names)))
        self._callers.append(self._names.setdefault(arrival.caller, len(self._names)))

    def sort(self) -> None:
        """Put them in the order of time."""
        at = self._numbers[0]
        self._order = array("I", sorted(range(len(at)), key=at.__getitem__))

    def __len__(self) -> int:
        return len(self._models)

    def __iter__(self) -> Iterator[Arrival]:
        names = list(self._names)
        at, service, cancel, deadline = self._numbers
        for row in self._order:
            yield Arrival(
                at[row],
                names[self._models[row]],
                service[row],
                names[self._callers[row]],
                None if cancel[row] == _NONE else cancel[row],
                None if deadline[row] == _NONE else deadline[row],
            )


def read(file: Path, names: Mapping[str, str]) -> Trace:
    """The requests of a file. ``names``: every name of every model, and its id. ``BadTrace``: the first bad line."""
    shown = printable(str(file))
    trace = Trace()
    try:
        with file.open("rb") as lines:
            for number, line in _lines(lines, shown):
                try:
                    trace.add(arrival_of(line, names))
                except ValueError as error:
                    raise BadTrace(f"{shown}:{number}: {error}") from None
                if len(trace) > MOST_REQUESTS:
                    raise BadTrace(f"{shown}:{number}: more than {MOST_REQUESTS:,} requests")
    except OSError as error:
        raise BadTrace(f"{shown}: cannot be read: {error.strerror}") from None
    if not len(trace):
        raise BadTrace(f"{shown}: there is no request in it")
    trace.sort()
    return trace


def _lines(file: BinaryIO, shown: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise BadTrace(f"{shown}:{number}: the line is longer than {LONGEST_LINE:,} bytes")
        line = line.strip()
        if line and not line.startswith(b"#"):
            yield number, line


def arrival_of(line: bytes, names: Mapping[str, str]) -> Arrival:
    """One line; ``ValueError`` says what is wrong with it."""
    try:
        found = json.loads(line)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON that can be read: too deep, or a number with too many digits") from None
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, such as {EXAMPLE}")  # noqa: TRY004 (one kind for a bad line)
    for key in found:
        if key not in KEYS:
            raise ValueError(f"there is no key {_shown(key)}{suggestion(key[:LONGEST_NAME], KEYS)}")
    for key in REQUIRED:
        if key not in found:
            raise ValueError(f"{key!r} is missing")
    return Arrival(
        _seconds(found, "at"),
        _model(found["model"], names),
        _seconds(found, "service"),
        _text(found.get("caller"), "caller") if found.get("caller") is not None else "",
        _seconds(found, "cancelAfter") if found.get("cancelAfter") is not None else None,
        _seconds(found, "deadline") if found.get("deadline") is not None else None,
    )


def _seconds(found: Mapping[str, Any], key: str) -> float:
    value = found[key]
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_TIME:
        return float(value)
    huge = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value) and value > 0
    limit = f" (at most {LONGEST_TIME:g})" if huge else ""
    raise ValueError(f"{key!r}: found {_shown(value)}, expected a number of seconds, 0 or more{limit}")


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{key!r}: found {_shown(value)}, expected text")  # noqa: TRY004 (one kind for a bad line)
    return value


def _model(value: Any, names: Mapping[str, str]) -> str:
    model = names.get(_text(value, "model"))
    if model is None:
        raise ValueError(f"there is no model {_shown(value)}{suggestion(value[:LONGEST_NAME], names)}")
    return model


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value)
    except ValueError:  # an integer with more digits than Python prints
        text = "a very long number"
    return text if len(text) <= 80 else f"{text[:80]}…"
