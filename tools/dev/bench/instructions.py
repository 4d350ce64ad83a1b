"""``python -m tools.dev.bench instructions``: what a request costs the lane, where timings cannot tell.

Instructions, counted by valgrind's callgrind, of the process itself, not of the kernel: two runs of different length,
and their difference by exchange, so that the start does not count. Repeats within 3 %, on a busy machine too.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.dev.bench.alone import EXCHANGES, LISTENING
from tools.dev.bench.load import drive
from tools.dev.bench.place import Place, Running, prepared
from tools.dev.bench.problems import CannotMeasure
from tools.dev.bench.processes import said, started
from tools.dev.bench.scenarios import SCENARIOS, Scenario
from tools.dev.bench.targets import certificate
from tools.status_table import columns

FEW, MANY = 300, 1300
WITHIN = 600.0
"""Seconds for each thing that the process has to say: under valgrind it takes a minute to start, on a busy machine
several."""
RUNS = 2
NAMES = ("unary-1", "unary-16", "unary-64", "close-16", "tls-16", "tls-64", "body-200k", "answer-200k")
_COLLECTED = re.compile(r"Collected : (\d+)")


def main(arguments: Sequence[str]) -> int:
    """Count and print."""
    parser = argparse.ArgumentParser(prog="python -m tools.dev.bench instructions", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="NAME", help=", ".join(NAMES))
    only = parser.parse_args(arguments).only or NAMES
    for name in only:
        if name not in NAMES:
            parser.error(f"there is no {name!r}; there are {', '.join(NAMES)}")
    try:
        with prepared() as place:
            rows = [[name, *_told(place, SCENARIOS[name])] for name in only]
    except CannotMeasure as why:
        print(f"bench: {why}", file=sys.stderr)
        return 1
    print("\n".join(columns([["INSTRUCTIONS A REQUEST", "MEDIAN", "RUNS"], *rows])))
    return 0


def _told(place: Place, scenario: Scenario) -> list[str]:
    runs = sorted(_each(place, scenario) for _ in range(RUNS))
    return [f"{sum(runs) / len(runs):,.0f}", " ".join(f"{run:,.0f}" for run in runs)]


def _each(place: Place, scenario: Scenario) -> float:
    """Instructions for one exchange."""
    (few, short), (many, long) = _counted(place, scenario, FEW), _counted(place, scenario, MANY)
    return (long - short) / (many - few)


def _counted(place: Place, scenario: Scenario, requests: int) -> tuple[int, int]:
    """Exchanges, the warm-up's among them, and instructions of the whole process."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise CannotMeasure("valgrind is not on the PATH; it counts the instructions")
    folder = place.folder("instructions")
    command = [valgrind, "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind.out"]
    command += [sys.executable, "-P", "-m", "tools.dev.bench.alone", place.upstream_url]
    files = certificate(place) if scenario.tls else ()
    command += map(str, files)
    with started(command, place.cores.proxy, folder / "log") as it:
        port = said(it, LISTENING, WITHIN)
        target = Running("alone", f"127.0.0.1:{port}", trusted=files[0] if files else None)
        drive(place, target, scenario.load, requests=requests)
        it.process.terminate()
        exchanges = int(said(it, EXCHANGES, WITHIN))
        it.process.wait()
    return exchanges, _instructions(folder / "log")


def _instructions(log: Path) -> int:
    found = _COLLECTED.search(log.read_text())
    if found is None:
        raise CannotMeasure(f"valgrind counted nothing: {log.read_text().strip().splitlines()[-1:]}")
    return int(found[1])
