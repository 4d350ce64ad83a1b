"""Measures scenarios: every target once, then all again, so that what changes on the machine meets all of them."""

import sys
from collections.abc import Sequence

from tools.dev.bench import procfs
from tools.dev.bench import results as figure
from tools.dev.bench.load import drive
from tools.dev.bench.place import Effort, Place, Running
from tools.dev.bench.results import Results, figures
from tools.dev.bench.scenarios import Scenario
from tools.dev.bench.targets import fleet

MEGABYTE = 2**20


def measure(place: Place, scenarios: Sequence[Scenario], effort: Effort, found: Results) -> None:
    """All of them; those with TLS last, with targets of their own."""
    for tls in (False, True):
        wanted = [scenario for scenario in scenarios if scenario.tls is tls]
        if wanted:
            with fleet(place, effort.targets, tls=tls) as (targets, missing):
                for scenario in wanted:
                    found.missing |= {(scenario.name, name): why for name, why in missing.items()}
                before = [memories(target) for target in targets]
                for scenario in wanted:
                    one(place, scenario, targets, effort, found)
                for target, first in zip(targets, before, strict=True):
                    found.memory += memory_rows(target, first, memories(target), tls=tls)


def one(place: Place, scenario: Scenario, targets: Sequence[Running], effort: Effort, found: Results) -> None:
    """One scenario: each target once, as often as asked for."""
    for run in range(effort.runs):
        base: dict[str, float] = {}
        for target in targets:
            shares: list[int] = []
            outcome = drive(
                place,
                target,
                scenario.load,
                seconds=effort.seconds,
                when_ready=lambda target=target, shares=shares: shares.extend(  # type: ignore[misc]
                    procfs.connections(target.workers, target.port)
                ),
            )
            measured = figures(target, outcome, shares if target.supervisor and len(target.workers) > 1 else ())
            base = base or (measured if target.name == "direct" else {})
            if base and target.name != "direct":
                measured[figure.ADDED_P50] = measured[figure.P50] - base[figure.P50]
                measured[figure.ADDED_P99] = measured[figure.P99] - base[figure.P99]
            found.add(scenario.name, target.name, measured)
            found.blame(scenario.name, target.name, outcome)
            progress(f"{scenario.name} run {run + 1}/{effort.runs} {target.name}", measured)
            if not procfs.wait_at_rest(target.pids):
                # What it still has to do is done at the expense of the next one.
                found.blame_for(scenario.name, target.name, "still busy long after the run")


def progress(what: str, measured: dict[str, float]) -> None:
    """One line on stderr: an interrupted benchmark has shown what it had."""
    text = ", ".join(f"{name} {value:,.1f}" for name, value in measured.items())
    print(f"{what}: {text}", file=sys.stderr, flush=True)


def memories(target: Running) -> dict[str, procfs.Memory]:
    """Of workers and supervisor, as far as there are any."""
    groups = {"": target.workers, " (supervisor)": target.supervisor}
    return {name: procfs.memory(pids) for name, pids in groups.items() if pids}


def memory_rows(
    target: Running, before: dict[str, procfs.Memory], after: dict[str, procfs.Memory], *, tls: bool
) -> list[tuple[str, ...]]:
    """Rows of the table of memory."""
    rows = []
    for name, first in before.items():
        last = after[name]
        sizes = (first.rss, last.rss, first.pss, last.pss)
        label = f"{target.name}{name}{' with TLS' if tls else ''}"
        rows.append((label, *(f"{size / MEGABYTE:.1f}" for size in sizes)))
    return rows
