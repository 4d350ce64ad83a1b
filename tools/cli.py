"""The ``swapyard`` command: finds the subcommand and hands over. Imports lazily.

A bad command line ends with one clear line and exit 2.
"""

import difflib
import sys
from importlib.metadata import version

USAGE = """usage: swapyard COMMAND [OPTIONS]

commands:
  serve --config FILE   run models behind one address; --help lists the options
  check --config FILE   show every problem of a configuration; --config-dir FOLDER works with both
  schema                print the JSON schema of configuration files
  demo                  serve two small models, set up on the spot
  simulate              what a scheduling policy does to traffic, under a virtual clock; --help has examples
  --version             print the version

swapctl talks to a running swapyard: swapctl --help
"""
COMMANDS = ("serve", "check", "schema", "demo", "simulate")


def main() -> None:
    """Entry point of the console script."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        sys.exit(0 if arguments else 2)
    command, rest = arguments[0], arguments[1:]
    if command in ("--version", "-version", "version"):
        print(f"swapyard {version('swapyard')}")
    elif command == "serve":
        from tools.serve import serve

        serve(rest)
    elif command == "check":
        from tools.check import run

        sys.exit(run(rest))
    elif command == "schema":
        from tools.schema import run as print_schema

        sys.exit(print_schema(rest))
    elif command == "demo":
        from tools.demo import run as demo

        sys.exit(demo(rest))
    elif command == "simulate":
        from tools.simulate.command import main as simulate

        sys.exit(simulate(rest))
    else:
        close = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        print(f"swapyard: there is no command {command!r}{hint} (commands: {', '.join(COMMANDS)})", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
