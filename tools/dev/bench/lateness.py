"""How late trio tasks of a saturated worker run, and how many control messages a request costs.

Seen from inside: a swapyard of its own, whose worker carries ``inside.py``. Its CPU time is not looked at.
"""

from pathlib import Path

from tools.dev.bench import swapyard_target
from tools.dev.bench.demands import LATE, MESSAGES, US
from tools.dev.bench.inside import COUNT, FIRST, RECEIVED, RING, SENT, ring
from tools.dev.bench.load import Load, Outcome, drive
from tools.dev.bench.place import Effort, Place, Running
from tools.dev.bench.results import P99, PER_SECOND, Results
from tools.dev.bench.scenarios import SCENARIOS
from tools.dev.bench.traffic import progress

KINDS = {"late-unary": SCENARIOS["unary-64"].load, "late-stream": SCENARIOS["stream-unpaced"].load}
PROBE = Path(__file__).parent / "probe"


def watched(place: Place, kinds: list[str], effort: Effort, found: Results) -> None:
    """Both kinds of saturation, interleaved."""
    folder = place.folder("probe")
    env = {"PYTHONPATH": str(PROBE), "SWAPYARD_BENCH_PROBE": str(folder)}
    with swapyard_target.running(place, 1, env=env) as target:
        numbers = ring(folder / str(target.workers[0]))
        for run in range(effort.runs):
            for kind in kinds:
                measured, outcome = once(place, target, KINDS[kind], numbers, effort.seconds)
                found.add(kind, US, measured)
                found.blame(kind, US, outcome)
                progress(f"{kind} run {run + 1}/{effort.runs}", measured)
        numbers.release()


def once(
    place: Place, target: Running, load: Load, numbers: memoryview, seconds: float
) -> tuple[dict[str, float], Outcome]:
    """One run: what happened in the worker while it was measured."""
    before: list[int] = []
    after: list[int] = []
    outcome = drive(
        place,
        target,
        load,
        seconds=seconds,
        when_ready=lambda: before.extend(numbers[:FIRST]),
        when_over=lambda: after.extend(numbers[:FIRST]),
    )
    sent, received, count = (after[at] - before[at] for at in (SENT, RECEIVED, COUNT))
    late = sorted(numbers[FIRST + at % RING] / 1e6 for at in range(before[COUNT], before[COUNT] + min(count, RING)))
    measured = {
        LATE: late[int(len(late) * 0.99)] if late else seconds * 1e3,
        "late, p50 ms": late[len(late) // 2] if late else seconds * 1e3,
        "late, longest ms": late[-1] if late else seconds * 1e3,
        PER_SECOND: outcome.operations / outcome.seconds,
        P99: outcome.p99,
    }
    if load.mode == "unary":
        measured[MESSAGES] = (sent + received) / max(outcome.operations, 1)
    return measured, outcome
