"""``python -m tools.dev.bench http``: the data path beside other proxies, in one run on one machine."""

import argparse
import platform
import sys
from collections.abc import Callable, Sequence

from tools.dev.bench import cold, lateness, memory, traffic
from tools.dev.bench.place import Effort, Place, prepared
from tools.dev.bench.problems import CannotMeasure
from tools.dev.bench.report import report
from tools.dev.bench.results import Results
from tools.dev.bench.scenarios import SCENARIOS
from tools.dev.bench.targets import TARGETS

RUNS = 7
SECONDS = 2.0
REQUESTS = 1_000_000
OTHERS = ("late-unary", "late-stream", "memory-idle", "memory-streams", "flat", "cold")
NAMES = (*SCENARIOS, *OTHERS)
LARGEST = 1e9
AROUND = 1.0
"""Seconds that a run takes beside what it measures, about."""


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 if it ended early, after what there is by then."""
    options = parser().parse_args(arguments)
    found, status = Results(), 0
    try:
        with prepared() as place:
            print(about(place, options), flush=True)
            measure(place, options, found)
    except (CannotMeasure, KeyboardInterrupt) as why:
        print(f"bench: {why or 'interrupted'}", file=sys.stderr)
        status = 1
    if status == 0 or found.runs:
        print(f"\n{report(found, options.runs)}", flush=True)
    return status


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m tools.dev.bench http", description=__doc__, allow_abbrev=False)
    made.add_argument("--only", type=_names(NAMES), default=list(NAMES), metavar="NAME,…", help=", ".join(NAMES))
    made.add_argument(
        "--targets", type=_names(tuple(TARGETS)), default=list(TARGETS), metavar="NAME,…", help=", ".join(TARGETS)
    )
    made.add_argument("--runs", type=_positive(int), default=RUNS, help=f"of each; {RUNS}, fewer decide nothing")
    made.add_argument("--seconds", type=_positive(float), default=SECONDS, help=f"that each run measures; {SECONDS:g}")
    made.add_argument("--requests", type=_positive(int), default=REQUESTS, help=f"for 'flat'; {REQUESTS:,}")
    return made


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < LARGEST:
            raise argparse.ArgumentTypeError(f"found {text!r}, expected a number above 0")
        return value

    return read


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        words = text.split(",")
        for word in words:
            if word not in known:
                raise argparse.ArgumentTypeError(f"there is no {word!r}; there are {', '.join(known)}")
        return [name for name in known if name in words]

    return read


def measure(place: Place, options: argparse.Namespace, found: Results) -> None:
    """Everything that was asked for."""
    effort, only = Effort(options.runs, options.seconds, tuple(options.targets)), options.only
    traffic.measure(place, [SCENARIOS[name] for name in only if name in SCENARIOS], effort, found)
    late = [name for name in only if name in lateness.KINDS]
    if late:
        lateness.watched(place, late, effort, found)
    for kind in memory.KINDS:
        if kind in only:
            memory.connections(place, kind, effort, found)
    if "cold" in only:
        cold.measure(place, effort.runs, found)
    if "flat" in only:
        memory.flat(place, options.requests, found)


def about(place: Place, options: argparse.Namespace) -> str:
    """What is about to happen, and where."""
    count = sum(name in SCENARIOS for name in options.only) * len(options.targets) * options.runs
    minutes = count * (options.seconds + AROUND) / 60
    where = f"the proxy on core {place.cores.proxy}, load and upstream on core {place.cores.load}"
    if place.cores.alone:
        where = "one core for proxy, load and upstream together: latencies and rates say little"
    often = f"{options.runs} runs of {options.seconds:g} s, interleaved: about {minutes:.0f} min for the traffic"
    system = f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"
    return f"data path: {where}; {system}\n{often}; CPU time is read in nanoseconds from each process's own clock"
