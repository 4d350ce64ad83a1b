"""``--config`` and ``--config-dir``: where the commands take the configuration from.

Used by ``serve.py`` and ``check.py``.
"""

import argparse
from pathlib import Path

from config.sources import Sources


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Let a command take both, with one dash as well."""
    parser.add_argument("--config", "-config", type=Path, metavar="FILE", help="the configuration")
    parser.add_argument(
        "--config-dir",
        "-config-dir",
        type=Path,
        metavar="FOLDER",
        help="a folder: every *.yml and *.yaml file in it is part of the configuration",
    )


def sources_of(found: argparse.Namespace, parser: argparse.ArgumentParser) -> Sources:
    """What was given; exits 2 with a line that says so if nothing was."""
    if found.config is None and found.config_dir is None:
        parser.error("give a configuration: --config FILE, --config-dir FOLDER, or both")
    return Sources(found.config, found.config_dir)
