"""``swapyard schema``: the JSON schema of the configuration file, for editors."""

import argparse
import json

from config.json_schema import schema


def run(arguments: list[str]) -> int:
    """Print it."""
    parser = argparse.ArgumentParser(prog="swapyard schema", description=__doc__, allow_abbrev=False)
    parser.add_argument("--strict", action="store_true", help="unknown keys are refused, as `check --strict` does")
    options = parser.parse_args(arguments)
    print(text(strict=options.strict), end="")
    return 0


def text(*, strict: bool = False) -> str:
    """The schema as it is printed, and kept in ``config-schema.json``."""
    return json.dumps(schema(strict=strict), indent=2, ensure_ascii=False) + "\n"
