"""``swapyard simulate``: what a scheduling policy does to traffic, under a virtual clock.

The core that decides is the product's own; only time, model servers and callers are simulated. Bad input ends with one
clear line and exit 2.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from config.check import Loaded, load, load_text
from config.errors import Severity, printable
from config.sources import Sources
from config.types import Settings
from protocol.recording import RecordingError
from supervisor.scheduler.registry import POLICIES
from supervisor.scheduler.settings import suggestion
from tools.simulate import plot, search, what_if
from tools.simulate.options import BEST, BadCommandLine, parser, seconds
from tools.simulate.profiles import PROFILES, Traffic, definition
from tools.simulate.recorded_rules import BadChange
from tools.simulate.references import PRESETS, REFERENCES
from tools.simulate.report import Row, as_json, as_table
from tools.simulate.scenario import BadScenario, Choice, Scenario, rules_for, run
from tools.simulate.timeline import Timeline
from tools.simulate.trace import BadTrace, read
from tools.simulate.world import FOREVER, Cost, Stuck

MOST_POLICIES = 20


def main(arguments: list[str]) -> int:
    """Simulate; the exit status."""
    try:
        options = parser().parse_args(arguments)
        if options.list_profiles:
            print(profiles_text(), end="")
            return 0
        if options.plot is not None:
            plot.check()
        if options.replay is not None or options.set:
            return replayed(options)
        scenario = scenario_of(options)
        rows, runs = compared(scenario, choices_of(options, scenario.settings), timelines=options.plot is not None)
        if options.plot is not None:
            plot.draw(runs, options.plot)
    except (BadCommandLine, BadScenario, BadTrace, BadChange, RecordingError, Stuck, plot.CannotPlot) as error:
        for line in str(error).splitlines():
            print(f"swapyard simulate: {printable(line)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(as_json(_asked(options), rows) if options.output == "json" else as_table(rows), end="")
    return 0


def replayed(options: argparse.Namespace) -> int:
    """A recording; the exit status: 1 if this version decides otherwise than the recorded one did."""
    if options.replay is None:
        raise BadCommandLine("--set changes a recording: give --replay FILE as well")
    unused = parser()
    for name in ("profile", "trace", "config", "config_dir", "swap_cost", "stop_cost", "cost", "crash", "until"):
        if getattr(options, name) != unused.get_default(name):
            option = f"--{name.replace('_', '-')}"
            raise BadCommandLine(f"--replay has traffic, configuration and costs in it; leave out {option}")
    if options.policy is not None and options.compare is not None:
        raise BadCommandLine("give --policy or --compare, not both")
    policies = [text.strip() for text in (options.compare or options.policy or "").split(",") if text.strip()]
    if BEST in policies:
        raise BadCommandLine(f"--replay: there is no {BEST!r} for a recording")
    timelines = options.plot is not None
    found = what_if.answer(options.replay, options.set, policies, seed=options.seed, timelines=timelines)
    if options.plot is not None:
        plot.draw(found.runs, options.plot)
    if options.output == "json":
        about = {"replay": str(options.replay), "set": options.set, "seed": options.seed, **found.as_object()}
        print(as_json(about, found.rows), end="")
    else:
        print(found.told() + as_table(found.rows), end="")
    return 0 if found.replayed.difference is None else 1


def profiles_text() -> str:
    """Every profile, for people."""
    return "".join(f"{name}\n    {definition(name)}\n" for name in PROFILES)


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    traffic = {"profile": options.profile} if options.profile else {"trace": str(options.trace)}
    until = None if options.until == FOREVER else options.until
    return {**traffic, "swapCost": options.swap_cost, "seed": options.seed, "until": until}


def compared(
    scenario: Scenario, choices: Sequence[Choice], *, timelines: bool = False
) -> tuple[list[Row], list[plot.Run]]:
    """A row for each policy, and with ``timelines`` what can be drawn of it."""
    for choice in choices:
        if choice.name != BEST:
            rules_for(scenario.settings, choice)  # all mistakes are told before the first run
    rows: list[Row] = []
    runs: list[plot.Run] = []
    for choice in choices:
        if choice.name == BEST:
            rows.append(best_row(scenario, choice))
            continue
        timeline = Timeline() if timelines else None
        record = run(scenario, choice, timeline)
        rows.append(Row(choice.text, record))
        if timeline is not None:
            runs.append(plot.Run(choice.text, record, timeline))
    return rows, runs


def best_row(scenario: Scenario, choice: Choice) -> Row:
    """The reference row of the search, or why there is none."""
    try:
        return Row(choice.text, search.best(scenario))
    except search.NotSearchable as reason:
        return Row(choice.text, None, str(reason))


def choices_of(options: argparse.Namespace, settings: Settings) -> list[Choice]:
    """The policies that were asked for."""
    if options.policy is not None and options.compare is not None:
        raise BadCommandLine("give --policy or --compare, not both")
    asked = options.compare.split(",") if options.compare is not None else [options.policy or settings.routing.policy]
    choices = [Choice.of(text.strip()) for text in asked]
    if len(choices) > MOST_POLICIES:
        raise BadCommandLine(f"--compare: {len(choices)} policies, more than {MOST_POLICIES}")
    known = [*POLICIES, *PRESETS, *REFERENCES, BEST]
    if options.plot is not None and all(choice.name == BEST for choice in choices):
        raise BadCommandLine(f"--plot: {BEST!r} is a search, not a run; name a policy beside it")
    for choice in choices:
        if not choice.name:
            raise BadCommandLine(f"--compare: a name is missing (known: {', '.join(known)})")
    return choices


# Configuration, traffic, costs.


def scenario_of(options: argparse.Namespace) -> Scenario:
    """What was asked for, with everything checked."""
    if (options.profile is None) == (options.trace is None):
        raise BadCommandLine("give the traffic: --profile NAME (--list-profiles tells which) or --trace FILE")
    sources = options.config is not None or options.config_dir is not None
    given = _settings(load(Sources(options.config, options.config_dir))) if sources else None
    if options.profile is not None:
        return _of_profile(options, given)
    if given is None:
        raise BadCommandLine("a trace needs a configuration: --config FILE, --config-dir FOLDER, or both")
    costs = {name: Cost(options.swap_cost) for name in given.models}
    names = {alias: model.id for model in given.models.values() for alias in model.aliases}
    trace = read(options.trace, names | {name: name for name in given.models})
    return _scenario(options, given, Traffic("", ()), costs, arrivals=trace)


def profile_scenario(name: str, swap: float, seed: int = 0) -> Scenario:
    """A profile as it stands."""
    return scenario_of(parser().parse_args(["--profile", name, "--swap-cost", str(swap), "--seed", str(seed)]))


def _of_profile(options: argparse.Namespace, given: Settings | None) -> Scenario:
    build = PROFILES.get(options.profile)
    if build is None:
        hint = suggestion(options.profile, PROFILES) or "; --list-profiles tells which there are"
        raise BadCommandLine(f"there is no profile {options.profile!r}{hint}")
    traffic = build(random.Random(options.seed), options.swap_cost)  # noqa: S311 (a simulation)
    settings = given or _settings(load_text(traffic.config))
    for arrival in (*traffic.arrivals, *(first for loop in traffic.loops for first in loop[:1])):
        if arrival.model not in settings.models:
            raise BadScenario(
                f"profile {options.profile!r} needs a model {arrival.model!r}, which the configuration lacks"
            )
    costs = {name: Cost(options.swap_cost) for name in settings.models} | dict(traffic.costs)
    return _scenario(options, settings, traffic, costs)


def _scenario(
    options: argparse.Namespace, settings: Settings, traffic: Traffic, costs: dict[str, Cost], arrivals: Any = None
) -> Scenario:
    if options.stop_cost is not None:
        costs = {name: replace(cost, stop=options.stop_cost) for name, cost in costs.items()}
    if options.crash is not None:
        costs = {name: replace(cost, crash=options.crash) for name, cost in costs.items()}
    for text in options.cost:
        name, cost = _cost(text, settings)
        costs[name] = replace(cost, crash=costs[name].crash)
    return Scenario(
        settings, traffic.arrivals if arrivals is None else arrivals, costs, traffic.loops, options.seed, options.until
    )


def _cost(text: str, settings: Settings) -> tuple[str, Cost]:
    name, equals, numbers = text.rpartition("=")
    if not equals:
        raise BadCommandLine(f"--cost: found {text!r}, expected MODEL=START or MODEL=START/STOP")
    if name not in settings.models:
        raise BadCommandLine(f"--cost: there is no model {name!r}{suggestion(name, settings.models)}")
    start, slash, stop = numbers.partition("/")
    try:
        return name, Cost(seconds(start), seconds(stop) if slash else 0.0)
    except argparse.ArgumentTypeError as error:
        raise BadCommandLine(f"--cost {name}: {error}") from None


def _settings(loaded: Loaded) -> Settings:
    """The configuration, or its errors, each with its place."""
    if loaded.settings is None:
        errors = [str(problem) for problem in loaded.problems if problem.severity is Severity.ERROR]
        raise BadScenario("\n".join(errors))
    if not loaded.settings.models:
        raise BadScenario("the configuration has no models")
    return loaded.settings
