"""What was measured, run by run: figures by scenario and target. Filled by the measurements, read by the reports."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from tools.dev.bench.load import Outcome
from tools.dev.bench.place import Running

COST = "CPU µs"
"""Of everything that is the proxy's, supervisor included, for one operation."""
WORKERS = "workers µs"
SUPERVISOR = "supervisor µs"
PER_SECOND = "per second"
P50, P99 = "p50 µs", "p99 µs"
ADDED_P50, ADDED_P99 = "+p50 µs", "+p99 µs"
SUPERVISOR_SHARE = "supervisor / worker"
SMALLEST_SHARE = "smallest share of connections"
LOAD_CORE = "load core %"
OWN = "load %"


@dataclass(slots=True)
class Results:
    """``missing``: why there is nothing of a target, by scenario and target, or of a scenario, with target ``""``."""

    runs: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    errors: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    missing: dict[tuple[str, str], str] = field(default_factory=dict)
    memory: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, scenario: str, target: str, figures: dict[str, float]) -> None:
        """One run."""
        for name, value in figures.items():
            self.runs.setdefault((scenario, target, name), []).append(value)

    def blame(self, scenario: str, target: str, outcome: Outcome) -> None:
        """Errors of one run, and connections that the target closed without need."""
        text = outcome.first_error or f"{outcome.reconnects} connections closed by it"
        if outcome.errors or outcome.reconnects:
            self.blame_for(scenario, target, text, outcome.errors + outcome.reconnects)

    def blame_for(self, scenario: str, target: str, text: str, count: int = 1) -> None:
        """Errors of any kind; the text of the first is kept."""
        before, first = self.errors.get((scenario, target), (0, ""))
        self.errors[scenario, target] = (before + count, first or text)

    def of(self, scenario: str, target: str, figure: str) -> list[float]:
        """All runs, in order; empty if it was not measured."""
        return self.runs.get((scenario, target, figure), [])

    def median(self, scenario: str, target: str, figure: str) -> float | None:
        """The median of the runs."""
        found = self.of(scenario, target, figure)
        return statistics.median(found) if found else None

    def ratios(self, scenario: str, target: str, against: str, figure: str) -> list[float]:
        """Run by run: what was measured one after the other is compared."""
        pairs = zip(self.of(scenario, target, figure), self.of(scenario, against, figure), strict=False)
        return [mine / theirs for mine, theirs in pairs if theirs > 0]

    def targets(self, scenario: str) -> list[str]:
        """Those with figures, in the order in which they were measured."""
        return list(dict.fromkeys(target for found, target, _ in self.runs if found == scenario))

    def scenarios(self) -> list[str]:
        """Those with figures or with a reason for having none."""
        return list(dict.fromkeys([*(found for found, _, _ in self.runs), *(found for found, _ in self.missing)]))


def figures(target: Running, outcome: Outcome, shares: Iterable[int] = ()) -> dict[str, float]:
    """One run of a target as figures."""
    operations = max(outcome.operations, 1)
    found = {
        PER_SECOND: outcome.operations / outcome.seconds,
        P50: outcome.p50,
        P99: outcome.p99,
        OWN: outcome.own / outcome.seconds * 100,
        LOAD_CORE: (outcome.own + _seconds(outcome, target.upstream)) / outcome.seconds * 100,
    }
    if target.workers:
        workers, supervisor = _seconds(outcome, target.workers), _seconds(outcome, target.supervisor)
        found[COST] = (workers + supervisor) / operations * 1e6
        if target.supervisor:
            found[WORKERS] = workers / operations * 1e6
            found[SUPERVISOR] = supervisor / operations * 1e6
            found[SUPERVISOR_SHARE] = supervisor / max(workers, 1e-9)
    connections = list(shares)
    if sum(connections):
        found[SMALLEST_SHARE] = min(connections) / sum(connections)
    return found


def _seconds(outcome: Outcome, pids: Iterable[int]) -> float:
    return sum(outcome.cpu[str(pid)] for pid in pids)
