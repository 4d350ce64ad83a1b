"""Exact replay: the events of a recording through the same core, and whether it decides the same again.

``events_of`` gives the events and effects of a recording in the scheduler's own vocabulary; ``replay`` feeds them to a
core that was restored from the recording's snapshot and stops at the first difference. What a change would do is
another question: ``recorded.py`` makes a trace of the demand.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import msgspec

from protocol.recording import Happened, Recording, RecordingError
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.core import Core
from supervisor.scheduler.phases import IllegalTransition
from supervisor.scheduler.state import Rules
from tools.simulate.recorded_rules import recorded_rules
from tools.simulate.world import Watcher

EVENTS: dict[str, Any] = {kind.__name__: kind for kind in get_args(ev.Event)}
EFFECTS: dict[str, Any] = {kind.__name__: kind for kind in get_args(do.Effect)}

BuildRules = Callable[[Mapping[str, Any]], Rules]


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded event. ``at``: seconds of the recorded clock."""

    line: int
    at: float
    event: ev.Event
    effects: tuple[do.Effect, ...]
    ignored: bool = False
    """The phase table forbade it."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay showed. ``difference``: the first one, in words; None: every decision is the recorded one."""

    events: int
    seconds: float
    """From the beginning of the recording to the last event."""
    difference: str | None
    notes: tuple[str, ...]
    """What to know of the end of the file."""

    def told(self) -> str:
        """The result in lines for people."""
        first = f"{self.events} events in {self.seconds:.1f} s: "
        same = "every decision is the recorded one"
        return "\n".join([first + (self.difference or same), *(f"note: {note}" for note in self.notes)])


def replay(path: Path, build: BuildRules = recorded_rules) -> Replayed:
    """Run a recording through the core. ``RecordingError`` if it cannot be read."""
    with Recording(path) as recording:
        return replay_steps(recording, path, build=build)


def replay_steps(
    recording: Recording,
    path: Path,
    take: Callable[[Step], None] | None = None,
    watcher: Watcher | None = None,
    build: BuildRules = recorded_rules,
) -> Replayed:
    """The same, once through the file. ``take`` gets every step, also those after a difference; ``watcher`` the board.

    After a difference the core is not asked any more.
    """
    core = restored(recording, path, build)
    began = latest = recording.begun.at
    count = 0
    difference: str | None = None
    for step in events_of(recording, path, build):
        count, latest = count + 1, step.at
        if difference is None:
            difference = _difference_at(core, step, recording.begun.hashed, began)
            if watcher is not None:
                watcher.look(core.board, step.at - began)
        if take is not None:
            take(step)
        elif difference is not None:
            break
    return Replayed(count, latest - began, difference, tuple(recording.notes))


def _difference_at(core: Core, step: Step, hashed: bool, began: float) -> str | None:
    found = _handled(core, step)
    if hashed and found is not None:
        found = _without_texts(found)
    if found == (None if step.ignored else step.effects):
        return None
    where = f"line {step.line}, {step.at - began:.3f} s after the beginning, {_short(step.event)}: "
    return where + _difference(step, found)


def restored(recording: Recording, path: Path, build: BuildRules = recorded_rules) -> Core:
    """A core in the state in which the recording began."""
    begun = recording.begun
    try:
        core = Core(replace(build(begun.config), parking=begun.parking), begun.instance)
    except RecordingError as error:
        raise RecordingError(f"{path}, line 1: its configuration is not accepted here: {error}") from None
    try:
        core.restore(begun.snapshot)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        text = (
            f"cannot be restored ({type(error).__name__}: {error}); if the line is whole, another version recorded it"
        )
        raise RecordingError(f"{path}, line 1: the state of the scheduler {text}") from None
    return core


def events_of(recording: Recording, path: Path, build: BuildRules = recorded_rules) -> Iterator[Step]:
    """The events of a recording, one after the other. ``RecordingError`` names the line that cannot be used."""
    for number, row in recording.events():
        try:
            event = _event(row, build, recording.begun.parking)
            effects = tuple(_converted(EFFECTS, name, fields) for name, fields in row.effects)
        except (msgspec.ValidationError, RecordingError) as error:
            raise RecordingError(f"{path}, line {number}: {error}") from None
        yield Step(number, row.at, event, effects, row.ignored)


def _event(row: Happened, build: BuildRules, parking: bool) -> Any:
    fields = row.fields
    if row.event == "RulesChanged" and isinstance(fields, dict) and isinstance(fields.get("config"), dict):
        fields = {name: value for name, value in fields.items() if name != "config"}
        fields["rules"] = replace(build(row.fields["config"]), parking=parking)
    return _converted(EVENTS, row.event, fields)


def _converted(kinds: Mapping[str, Any], name: str, fields: Any) -> Any:
    kind = kinds.get(name)
    if kind is None:
        raise RecordingError(f"there is no {name!r} in this version of the scheduler")
    return msgspec.convert(fields, kind)


def _handled(core: Core, step: Step) -> tuple[do.Effect, ...] | None:
    """The effects, None if the phase table forbids the event."""
    try:
        return tuple(core.handle(step.event, step.at))
    except IllegalTransition:
        return None


def _without_texts(effects: Sequence[do.Effect]) -> tuple[do.Effect, ...]:
    """As a recording with hashed names has them."""
    kept = (effect for effect in effects if not isinstance(effect, do.Note))
    return tuple(replace(effect, text="") if isinstance(effect, do.Refuse | do.Answer) else effect for effect in kept)


def _difference(step: Step, found: tuple[do.Effect, ...] | None) -> str:
    """The first effect that is not the same."""
    if found is None:
        return "recorded as allowed, and the phase table forbids it now"
    if step.ignored:
        return "recorded as forbidden by the phase table, and it is allowed now"
    for number, (recorded, now) in enumerate(zip(step.effects, found, strict=False), 1):
        if recorded != now:
            return f"effect {number} was {_short(recorded)}, and is now {_short(now)}"
    common = min(len(step.effects), len(found))
    if len(found) > common:
        return f"effect {common + 1} is now {_short(found[common])}, and there was none"
    return f"effect {common + 1} was {_short(step.effects[common])}, and there is none now"


def _short(what: ev.Event | do.Effect) -> str:
    return "RulesChanged" if isinstance(what, ev.RulesChanged) else repr(what)
