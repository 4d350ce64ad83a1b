"""``swapyard simulate --replay``: what was recorded, beside what the same demand would have met under other rules.

First the exact replay: does this version decide as the recorded one did? Then a table: what was recorded; the same
demand simulated under the rules of the recording, so that the error of the simulation is seen; and under the changed
ones. Called by ``command.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.types import Settings
from protocol.recording import Recording
from tools.simulate.plot import Run
from tools.simulate.recorded import Demand, Demands
from tools.simulate.recorded_rules import changed, settings_of
from tools.simulate.replay import Replayed, replay_steps
from tools.simulate.report import Row
from tools.simulate.scenario import Choice, Scenario, rules_for, run
from tools.simulate.timeline import Timeline

RECORDED = "recorded"
UNCHANGED = "simulated"


@dataclass(frozen=True, slots=True)
class Answer:
    """What to show."""

    replayed: Replayed
    rows: list[Row]
    runs: list[Run]
    notes: tuple[str, ...]

    def told(self) -> str:
        """The lines above the table."""
        notes = [f"note: {note}" for note in self.notes]
        return "\n".join([self.replayed.told(), *notes]) + "\n\n"

    def as_object(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "events": self.replayed.events,
            "seconds": round(self.replayed.seconds, 6),
            "difference": self.replayed.difference,
            "notes": [*self.replayed.notes, *self.notes],
        }


def answer(path: Path, changes: Sequence[str], policies: Sequence[str], *, seed: int, timelines: bool) -> Answer:
    """Replay ``path``, then simulate. ``policies``: as after ``--compare``; ``changes``: as after ``--set``.

    Raises ``RecordingError``, ``BadChange``, ``BadScenario``.
    """
    timeline = Timeline() if timelines else None
    with Recording(path) as recording:
        begun = recording.begun
        settings = settings_of(begun.config)
        demands = Demands(begun.at, begun.snapshot, settings.models)
        candidates = _candidates(begun.config, settings, changes, policies)
        replayed = replay_steps(recording, path, demands.take, timeline)
    demand = demands.demand()
    rows = [Row(RECORDED, demand.record)]
    runs = [] if timeline is None else [Run(RECORDED, demand.record, timeline)]
    for name, choice, under in candidates:
        watcher = Timeline() if timelines else None
        record = run(Scenario(under, demand.arrivals, _costs(demand, under), seed=seed), choice, watcher)
        rows.append(Row(name, record))
        if watcher is not None:
            runs.append(Run(name, record, watcher))
    return Answer(replayed, rows, runs, demand.notes)


def _candidates(
    config: dict[str, Any], settings: Settings, changes: Sequence[str], policies: Sequence[str]
) -> list[tuple[str, Choice, Settings]]:
    """Name, policy and configuration of each simulated row. All mistakes are told before the first run."""
    found = [(UNCHANGED, Choice.of(settings.routing.policy), settings)]
    after = changed(config, list(changes)) if changes else settings
    if policies:
        found += [(text, Choice.of(text), after) for text in policies]
    elif changes:
        found.append((", ".join(map(_short, changes)), Choice.of(after.routing.policy), after))
    for _, choice, under in found:
        rules_for(under, choice)
    return found


def _short(change: str) -> str:
    """``maxWait=20`` of ``routing.scheduler.settings.fifo.maxWait=20``."""
    path, _, value = change.partition("=")
    return f"{path.rpartition('.')[2]}={value}"


def _costs(demand: Demand, settings: Settings) -> Any:
    """Of all models that there are, those of a changed configuration among them."""
    anything = next(iter(demand.costs.values()))
    return {name: demand.costs.get(name, anything) for name in settings.models}
