"""What the data path must show, as a table: each row prints what was measured, the demand, and whether it is met.

The numbers are those of the issue that asked for the data path. A row is a ratio to another target of the same run,
or a figure by itself. Errors of the target make a row missed, whatever its ratio.
"""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from tools.dev.bench import results as figure
from tools.dev.bench.results import Results

US, TWO, GO, NGINX = "swapyard", "swapyard-2", "go", "nginx"
LATE = "trio task late, p99 ms"
MESSAGES = "control messages per request"
IDLE_BYTES = "bytes per idle connection"
STREAM_BYTES = "bytes per open stream"
GROWTH = "RSS after / before"
COLD = "added to the server's own start, ms"


@dataclass(frozen=True, slots=True)
class Demand:
    """``most`` or ``least`` is set. Without ``against`` it is about the figure itself."""

    scenario: str
    figure: str
    against: str = ""
    most: float | None = None
    least: float | None = None
    target: str = US

    @property
    def what(self) -> str:
        """For people."""
        of = "" if self.target == US else f" of {self.target}"
        return f"{self.scenario}: {self.figure}{of}{f' x {self.against}' if self.against else ''}"

    @property
    def wanted(self) -> str:
        """The limit."""
        return f"≤ {self.most:g}" if self.most is not None else f"≥ {self.least:g}"

    def holds(self, value: float) -> bool:
        """Is this good enough?"""
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)


def _rows() -> Iterator[Demand]:
    for name, most in (("unary-1", 0.75), ("unary-16", 0.65), ("unary-64", 0.65), ("close-16", 0.8)):
        yield Demand(name, figure.COST, GO, most)
    for name in ("unary-16", "unary-64"):
        yield Demand(name, figure.COST, NGINX, 2.6)
    for name, most in (("tls-16", 0.65), ("tls-64", 0.65), ("body-200k", 1.1), ("answer-200k", 1.1)):
        yield Demand(name, figure.COST, GO, most)
    yield Demand("unary-64", figure.PER_SECOND, GO, least=1.5)
    for name, most in (("stream-64x50", 1.05), ("stream-256x50", 1.05), ("stream-64x500", 1.1)):
        yield Demand(name, figure.COST, GO, most)
    yield Demand("stream-unpaced", figure.PER_SECOND, GO, least=0.9)
    yield Demand("unary-1", figure.ADDED_P50, GO, 1.2)
    yield Demand("unary-64", figure.P99, GO, 1.0)
    yield Demand("late-unary", LATE, most=2.0)
    yield Demand("late-stream", LATE, most=2.0)
    # Batches of reports, beats and recalls remain; a message for each request would be 1 and more.
    yield Demand("late-unary", MESSAGES, most=0.01)
    yield Demand("unary-64", figure.SUPERVISOR_SHARE, most=0.03)
    yield Demand("unary-64", figure.COST, US, 1.15, target=TWO)
    yield Demand("unary-64", figure.SMALLEST_SHARE, least=1 / 3, target=TWO)
    yield Demand("memory-idle", IDLE_BYTES, most=2048)
    yield Demand("memory-streams", STREAM_BYTES, most=6144)
    yield Demand("flat", GROWTH, most=1.05)
    yield Demand("cold", COLD, most=20.0)


DEMANDS = tuple(_rows())


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row, judged: ``met``, ``missed``, ``doubtful`` (what it is compared with failed) or ``not measured``.

    ``value`` is the median of ``runs``; ``text`` says what else there is to know.
    """

    demand: Demand
    word: str
    value: float | None
    runs: list[float]
    text: str


def judge(found: Results, demand: Demand) -> Verdict:
    """A row against what was measured."""
    if demand.against:
        runs = found.ratios(demand.scenario, demand.target, demand.against, demand.figure)
    else:
        runs = found.of(demand.scenario, demand.target, demand.figure)
    if not runs:
        return Verdict(demand, "not measured", None, [], _why_not(found, demand))
    value = statistics.median(runs)
    mine, theirs = (_blame(found, demand.scenario, name) for name in (demand.target, demand.against))
    word = "doubtful" if theirs else "met"
    if mine or not demand.holds(value):
        word = "missed"
    return Verdict(demand, word, value, runs, "; ".join(text for text in (mine, theirs) if text))


def _blame(found: Results, scenario: str, target: str) -> str:
    count, first = found.errors.get((scenario, target), (0, ""))
    return f"{target}: {count:,} errors, the first: {first}" if count else ""


def _why_not(found: Results, demand: Demand) -> str:
    for name in ("", demand.target, demand.against):
        why = found.missing.get((demand.scenario, name))
        if why is not None:
            return f"{name}: {why}" if name else why
    return "not asked for in this run"
