"""Interleaved runs of cases, and the table of what they took."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tools.status_table import columns

RUNS = 7


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement. ``run`` returns seconds per operation; ``target``: most microseconds that we want, if any."""

    name: str
    run: Callable[[], float]
    target: float | None = None


def calibrate() -> float:
    """Seconds for one round of a loop that does what a scheduler does: dictionaries, attributes, small objects."""
    held: dict[int, tuple[int, int]] = {}
    rounds = 200_000
    began = time.perf_counter()
    for number in range(rounds):
        held[number] = (number, number)
        if number >= 64:
            del held[number - 64]
    return (time.perf_counter() - began) / rounds


def measure(cases: Sequence[Case]) -> list[str]:
    """Lines of the table, in the order of the cases."""
    taken: dict[str, list[float]] = {case.name: [] for case in cases}
    loops: list[float] = []
    for _ in range(RUNS):
        loops.append(calibrate())
        for case in cases:
            taken[case.name].append(case.run())
    loop = statistics.median(loops)
    rows: list[tuple[str, ...]] = [("CASE", "MEDIAN µs", "TARGET µs", "PER SECOND", "LOOPS", "ALL RUNS µs")]
    for case in cases:
        median = statistics.median(taken[case.name])
        target = "" if case.target is None else f"{case.target:g}"
        runs = " ".join(f"{seconds * 1e6:.1f}" for seconds in taken[case.name])
        rows.append((case.name, f"{median * 1e6:.1f}", target, f"{1 / median:,.0f}", f"{median / loop:.0f}", runs))
    return [*columns(rows), f"calibration loop: {loop * 1e9:.0f} ns a round"]
