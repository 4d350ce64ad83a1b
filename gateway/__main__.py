"""A gateway worker process: ``python -P -m gateway``, started by ``supervisor/workers.py`` and by nobody else."""

import argparse
import contextlib
import faulthandler
import logging
import os
import resource
import signal
import sys

from gateway.serve import DRIVERS, Certificate, Place, run

DRIVER = "SWAPYARD_LANE_DRIVER"


def main(arguments: list[str]) -> int:
    """Take the place that the supervisor describes."""
    parser = argparse.ArgumentParser(prog="swapyard worker", allow_abbrev=False)
    for name in ("--slot", "--fd", "--lifeline"):
        parser.add_argument(name, type=int, required=True)
    for name in ("--workers-endpoint", "--events-endpoint"):
        parser.add_argument(name, required=True)
    for name in ("--tls-cert-file", "--tls-key-file"):
        parser.add_argument(name, default=None)
    parser.add_argument("--log-level", default="info")
    # For measurements: the supervisor does not say it, the environment may.
    parser.add_argument("--driver", choices=sorted(DRIVERS), default=os.environ.get(DRIVER, "guest"))
    found = parser.parse_args(arguments)
    if found.driver not in DRIVERS:
        parser.error(f"{DRIVER}={found.driver}: expected one of {', '.join(DRIVERS)}")
    _take_all_descriptors()
    # SIGABRT is how the supervisor ends a worker that hangs: the stacks show where.
    faulthandler.enable()
    # Ctrl-C and a stop of the whole are the supervisor's to pass on, as Drain.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logging.basicConfig(
        stream=sys.stderr, level=found.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    logging.getLogger("swapyard.http").setLevel(logging.WARNING)  # hypercorn greets at every start
    certificate = Certificate(found.tls_cert_file, found.tls_key_file) if found.tls_cert_file else None
    endpoints = found.workers_endpoint, found.events_endpoint
    return run(Place(found.slot, found.fd, *endpoints, found.lifeline, certificate), found.driver)


def _take_all_descriptors() -> None:
    """Each connection is one, and the usual soft limit of 1,024 is for programs that use ``select``."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some systems name a hard limit that they do not give.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
