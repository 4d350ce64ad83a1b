"""The command line of ``swapyard simulate``: what may be typed, and what it is. What it means: ``command.py``."""

import argparse
import math
from pathlib import Path
from typing import NoReturn

from supervisor.scheduler.registry import POLICIES
from tools.simulate.references import PRESETS
from tools.simulate.world import FOREVER
from tools.sources import add_sources

SWAP_COST = 10.0
BEST = "best"
EPILOG = f"""\
policies: {", ".join(POLICIES)}, and those of third parties, as after routing.scheduler.use in a configuration
to compare with, in the simulator only:
  {", ".join(PRESETS)}    fifo with maxWait 0, which is what llama-swap does
  arrival-order   nobody is overtaken, not even if his model is ready
  drain-first     a ready model is served until its queue is empty; whoever has waited 15 s goes before everybody
                  else (drain-first:staleness=30 for other seconds)
  drain-batch     the same, but who waited when a model became ready is served first
  {BEST}            the best possible schedule, knowing the future; for small cases, one request at a time

a trace has one JSON object a line:
  {{"at": 0.0, "model": "chat", "service": 2.5, "caller": "ann", "cancelAfter": 30, "deadline": 60}}
  at, service: seconds; cancelAfter: the client leaves so many seconds after it came; deadline: it may wait so many
  seconds; the last three may be missing

examples:
  swapyard simulate --profile bursty --compare fifo,llama-swap,drain-first,best
  swapyard simulate --profile zipf --swap-cost 20 --plot zipf.png
  swapyard simulate --config config.yaml --trace requests.jsonl --compare fifo,fifo:maxWait=20
  swapyard simulate --config config.yaml --trace requests.jsonl --cost chat=25/3 --cost embed=4 -o json
  swapyard simulate --replay hour.jsonl --set routing.scheduler.settings.fifo.maxWait=20 --plot hour.png
"""


class BadCommandLine(Exception):
    """What was typed does not make sense; the text is for people."""


class _Parser(argparse.ArgumentParser):
    """One line for a mistake, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise BadCommandLine(message)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = _Parser(
        prog="swapyard simulate",
        description="What a scheduling policy does to traffic, under a virtual clock: the real core, simulated models.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    traffic = made.add_argument_group("traffic")
    traffic.add_argument("--profile", metavar="NAME", help="traffic by name; --list-profiles tells which")
    traffic.add_argument("--trace", type=Path, metavar="FILE", help="requests from a file; see below")
    traffic.add_argument("--list-profiles", action="store_true", help="print every profile with its definition")
    traffic.add_argument("--replay", type=Path, metavar="FILE", help="a recording of 'swapctl record start FILE'")
    traffic.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="with --replay: what if this setting had been another one; may be repeated",
    )
    add_sources(made)
    policies = made.add_argument_group("policies")
    policies.add_argument(
        "--policy",
        metavar="NAME[:KEY=VALUE…]",
        help="one policy; default: the configuration's. Settings: fifo:maxWait=20:minResident=5",
    )
    policies.add_argument("--compare", metavar="LIST", help="several, with commas between them: a row each")
    costs = made.add_argument_group("costs, in seconds")
    costs.add_argument(
        "--swap-cost", type=seconds, default=SWAP_COST, metavar="S", help="a load takes so long (default 10)"
    )
    costs.add_argument("--stop-cost", type=seconds, metavar="S", help="a stop takes so long (default 0)")
    costs.add_argument(
        "--cost", action="append", default=[], metavar="MODEL=START[/STOP]", help="for one model; may be repeated"
    )
    costs.add_argument("--crash", type=chance, metavar="P", help="a load fails with this probability, 0 to 1")
    made.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of everything that is left to chance (default 0)"
    )
    made.add_argument("--until", type=seconds, default=FOREVER, metavar="S", help="stop at this virtual time")
    made.add_argument("-o", "--output", choices=["table", "json"], default="table")
    made.add_argument("--plot", type=Path, metavar="FILE.png", help="draw waits and a timeline; needs matplotlib")
    return made


def seconds(text: str) -> float:
    """Of a duration, 0 or more; ``argparse.ArgumentTypeError`` for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and value >= 0:
        return value
    raise argparse.ArgumentTypeError(f"found {text!r}, expected a number of seconds, 0 or more")


def chance(text: str) -> float:
    """Of a probability, 0 to 1; ``argparse.ArgumentTypeError`` for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if 0 <= value <= 1:
        return value
    raise argparse.ArgumentTypeError(f"found {text!r}, expected a probability, 0 to 1")
