"""``make bench``: every benchmark of the repository. Figures, never tests.

``python -m tools.dev.bench scheduler`` and ``config`` cost half a minute each, ``cold`` two, and ``http``, the data
path beside other proxies, about an hour; ``http --help`` names its parts. Without a word all of them run.
"""

import signal
import sys

from tools.dev.bench import config, http, scheduler

USAGE = "usage: python -m tools.dev.bench [scheduler | config | cold [OPTIONS] | http [OPTIONS]]"


def main(arguments: list[str]) -> int:
    """Run what was asked for; the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started ends with us
    match arguments:
        case []:
            scheduler.main()
            config.main()
            return http.main([])
        case ["scheduler"]:
            scheduler.main()
            return 0
        case ["config"]:
            config.main()
            return 0
        case ["http", *rest]:
            return http.main(rest)
        case ["cold", *rest]:
            return http.main(["--only", "cold", *rest])
    print(USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
