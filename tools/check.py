"""``swapyard check``: every problem of a configuration, with its place. Exit 0 valid, 2 not."""

import argparse
import json
import sys

from config.check import Loaded, load
from config.errors import Problem, Severity, printable
from config.show import shown
from protocol.ids import ModelId
from supervisor.scheduler.registry import build
from tools.sources import add_sources, sources_of


def run(arguments: list[str]) -> int:
    """Check a configuration and say what was found."""
    parser = argparse.ArgumentParser(prog="swapyard check", description=__doc__, allow_abbrev=False)
    add_sources(parser)
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")
    parser.add_argument("--print", action="store_true", help="show what the file means, as JSON; secrets are masked")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    options = parser.parse_args(arguments)
    sources = sources_of(options, parser)
    loaded = load(sources)
    problems = sorted((*loaded.problems, *refused_by_parts(loaded)), key=lambda problem: problem.at)
    found = {problem.severity for problem in problems}
    valid = Severity.ERROR not in found and not (options.strict and Severity.WARNING in found)
    if options.print and valid and loaded.settings is not None:
        for problem in problems:
            print(problem, file=sys.stderr)
        print(json.dumps(shown(loaded.settings), indent=2))
    elif options.output == "json":
        print(json.dumps({"valid": valid, "problems": [as_json(problem) for problem in problems]}, indent=2))
    else:
        for problem in problems:
            print(problem, file=sys.stderr)
        count = len(loaded.settings.models) if loaded.settings else 0
        verdict = f"valid, {count} model{'s' if count != 1 else ''}" if valid else "not valid"
        print(f"{printable(str(sources))}: {verdict}")
    return 0 if valid else 2


def refused_by_parts(loaded: Loaded) -> list[Problem]:
    """What the policy and the eviction rule say of their settings."""
    if loaded.settings is None:
        return []
    models = {ModelId(name): model for name, model in loaded.settings.models.items()}
    built = build(loaded.settings.routing, models)
    return [loaded.error(problem.path, problem.text) for problem in built.problems]


def as_json(problem: Problem) -> dict[str, str | int]:
    """One finding as an object."""
    return {
        "severity": str(problem.severity),
        "file": str(problem.file),
        "line": problem.line,
        "column": problem.column,
        "path": problem.where,
        "text": problem.text,
    }
