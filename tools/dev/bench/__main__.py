"""``make bench``: every benchmark of the repository. Figures, never tests.

``python -m tools.dev.bench scheduler``, ``config`` and ``simulate`` cost half a minute each, ``cold`` two, and
``http``, the data path beside other proxies, about an hour; ``http --help`` names its parts. Without a word all of
these run. ``instructions`` counts what the lane executes for a request, five minutes, with valgrind.
"""

import signal
import sys

from tools.dev.bench import config, http, instructions, scheduler, simulate

USAGE = (
    "usage: python -m tools.dev.bench "
    "[scheduler | config | simulate | cold [OPTIONS] | http [OPTIONS] | instructions [NAME …]]"
)

TABLES = {"scheduler": scheduler.main, "config": config.main, "simulate": simulate.main}
PARTS = {
    "http": http.main,
    "cold": lambda rest: http.main(["--only", "cold", *rest]),
    "instructions": instructions.main,
}


def main(arguments: list[str]) -> int:
    """Run what was asked for; the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started ends with us
    match arguments:
        case []:
            scheduler.main()
            config.main()
            simulate.main()
            return http.main([])
        case [name] if name in TABLES:
            TABLES[name]()
            return 0
        case [name, *rest] if name in PARTS:
            return PARTS[name](rest)
    print(USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
