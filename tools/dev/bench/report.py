"""What was measured as text: the demands first, then each scenario with its ratios first, then every run."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from tools.dev.bench import results as figure
from tools.dev.bench.demands import DEMANDS, GO, NGINX, Verdict, judge
from tools.dev.bench.results import Results
from tools.dev.bench.scenarios import SCENARIOS
from tools.status_table import columns

CROWDED = 80.0
"""Percent of its core above which load generator and model server are what limits requests per second."""
SHOWN = (
    figure.COST, figure.WORKERS, figure.SUPERVISOR, figure.PER_SECOND,
    figure.ADDED_P50, figure.ADDED_P99, figure.P50, figure.P99, figure.OWN, figure.LOAD_CORE,
)  # fmt: skip
ALWAYS = 7
"""Runs below which nothing is decided."""


def report(found: Results, runs: int) -> str:
    """The whole text."""
    parts = ["\n".join(demands(found, runs))]
    parts += ["\n".join(scenario(found, name)) for name in found.scenarios()]
    if found.memory:
        head = ("TARGET", "RSS MB BEFORE", "AFTER", "PSS MB BEFORE", "AFTER")
        parts.append("\n".join(["memory, before and after all of the runs above", *columns([head, *found.memory])]))
    return "\n\n".join(parts)


def demands(found: Results, runs: int) -> Iterator[str]:
    """Each row of the table of demands, and what is missed or not measured counted."""
    verdicts = [judge(found, demand) for demand in DEMANDS]
    asked = [verdict for verdict in verdicts if verdict.text != "not asked for in this run"]
    yield "what the data path must show (medians; ratios are of runs that followed each other)"
    yield from columns([("MEASURED", "DEMAND", "VERDICT", "WHAT", "ALL RUNS"), *map(_demand_row, asked)])
    words = Counter(verdict.word for verdict in verdicts)
    counts = ", ".join(f"{words[word]} {word}" for word in ("met", "missed", "doubtful", "not measured"))
    yield f"{counts} ({len(verdicts) - len(asked)} of them not asked for in this run)"
    if runs < ALWAYS:
        yield f"only {runs} runs: {ALWAYS} decide"


def _demand_row(verdict: Verdict) -> tuple[str, ...]:
    shown = "-" if verdict.value is None else number(verdict.value)
    rest = " ".join(map(number, verdict.runs))
    more = f"  ! {verdict.text}" if verdict.text else ""
    return (shown, verdict.demand.wanted, verdict.word, verdict.demand.what, rest + more)


def scenario(found: Results, name: str) -> Iterator[str]:
    """One scenario: medians with ratios first, then all runs, then what went wrong."""
    known = SCENARIOS.get(name)
    targets = found.targets(name)
    yield f"{name}: {known.title} (CPU and rate by {known.unit})" if known else name
    present = [shown for shown in figures_of(found, name) if shown in SHOWN] or figures_of(found, name)
    others = [other for other in (GO, NGINX) if other in targets]
    head = ("TARGET", *(f"x {other}" for other in others), *present)
    if targets:
        yield from columns([head, *(_row(found, name, target, present, others) for target in targets)])
    every = [(shown, target, found.of(name, target, shown)) for shown in figures_of(found, name) for target in targets]
    rows = [(f"  {shown}", target, " ".join(map(number, runs))) for shown, target, runs in every if runs]
    if rows:
        yield from columns(rows)
    yield from remarks(found, name)


def figures_of(found: Results, name: str) -> list[str]:
    """Every figure of a scenario, in a fixed order."""
    present = list(dict.fromkeys(shown for scenario_, _, shown in found.runs if scenario_ == name))
    return sorted(present, key=lambda shown: SHOWN.index(shown) if shown in SHOWN else len(SHOWN))


def _row(found: Results, name: str, target: str, present: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    cells = [_ratio(found.ratios(name, target, other, present[0])) for other in others]
    medians = [found.median(name, target, shown) for shown in present]
    return (target, *cells, *("" if value is None else number(value) for value in medians))


def _ratio(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f}" if ratios and any(ratios) else ""


def remarks(found: Results, name: str) -> Iterator[str]:
    """What a reader of the scenario's table has to know."""
    for (scenario_, target), why in found.missing.items():
        if scenario_ == name:
            yield f"  {target or name}: not measured: {why}"
    for (scenario_, target), (count, first) in found.errors.items():
        if scenario_ == name:
            yield f"  ! {target}: {count:,} errors, the first: {first}"
    for target in found.targets(name):
        used = found.median(name, target, figure.LOAD_CORE)
        if used is not None and used > CROWDED and target != "direct":
            yield f"  ! {target}: load and upstream took {used:.0f} % of their core: more could have been served"


def number(value: float) -> str:
    """Three digits that matter, or whole."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
