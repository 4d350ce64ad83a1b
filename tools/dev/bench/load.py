"""Runs the load generator once against a running target. The program is ``go/load``; its flags are named there."""

import subprocess  # noqa: TID251 (a developer's tool that runs its own load generator)
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from tools.dev.bench.place import Place, Running
from tools.dev.bench.problems import CannotMeasure
from tools.dev.bench.processes import on_core

KEY = "sk-bench-0000000000000000000000000000000000000000"
MODEL = "bench"
LONGEST_WARM_UP = 0.5


@dataclass(frozen=True, slots=True)
class Load:
    """What to send. ``plan``: which answers to ask for, as ``go/wire`` writes it; ``body``: bytes of a request."""

    connections: int
    mode: str = "unary"
    plan: str = "answer=512"
    body: int = 2048


class Outcome(msgspec.Struct, frozen=True):
    """What the load generator measured. CPU in seconds by pid, ``own`` its own; percentiles in microseconds."""

    seconds: float
    operations: int
    reconnects: int
    errors: int
    first_error: str
    p50: int
    p99: int
    longest: int
    cpu: dict[str, float]
    own: float


def drive(
    place: Place,
    target: Running,
    load: Load,
    *,
    seconds: float = 1.0,
    requests: int = 0,
    model: str = MODEL,
    when_ready: Callable[[], None] = lambda: None,
    when_over: Callable[[], None] = lambda: None,
) -> Outcome:
    """Measure for ``seconds``, or ``requests``.

    ``when_ready`` is called with all connections up, before anything counts; ``when_over`` when nothing counts any
    more, with them still up.
    """
    command = [str(place.programs / "load"), "-addr", target.address, "-mode", load.mode, "-plan", load.plan]
    command += ["-connections", str(load.connections), "-body", str(load.body), "-key", KEY, "-model", model]
    command += ["-warm", f"{min(LONGEST_WARM_UP, seconds)}s", "-seconds", f"{seconds}s", "-requests", str(requests)]
    command += ["-watch", ",".join(map(str, target.pids))]
    if target.trusted is not None:
        command += ["-ca", str(target.trusted)]
    with on_core(place.cores.load):
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=place.one_core,
        )
    with process:
        try:
            said, complaint = _converse(process, when_ready, when_over)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise CannotMeasure(f"{target.name}: {complaint.strip()}")
    return msgspec.json.decode(said, type=Outcome)


def _converse(
    process: subprocess.Popen[str], when_ready: Callable[[], None], when_over: Callable[[], None]
) -> tuple[str, str]:
    """What it says last on stdout, and on stderr; ``communicate`` would lose what came with an earlier line."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    if process.stdout.readline() == "ready\n":
        when_ready()
        process.stdin.write("go\n")
        process.stdin.flush()
        if process.stdout.readline() == "over\n":
            when_over()
    said, complaint = process.stdout.read(), process.stderr.read()
    process.wait()
    return said, complaint
