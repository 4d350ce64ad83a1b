"""Memory: of an idle connection, of an open stream, and after a million requests.

Each run of the first two starts its target afresh: a heap that has been large once shows nothing. What grows is the
resident memory of the workers; buffers in the kernel are not in it. The supervisor's growth is printed beside it.
"""

from tools.dev.bench import procfs
from tools.dev.bench.demands import GROWTH, IDLE_BYTES, STREAM_BYTES, US
from tools.dev.bench.load import Load, drive
from tools.dev.bench.place import Effort, Place, Running
from tools.dev.bench.problems import CannotMeasure
from tools.dev.bench.results import Results
from tools.dev.bench.scenarios import EVENT
from tools.dev.bench.targets import TARGETS, ask, fleet
from tools.dev.bench.traffic import progress

IDLE = 2000
STREAMS = 1000
WARM_UP = Load(16)
WARM_REQUESTS = 2000
FLAT_BEFORE = 10_000
HERE = "resident MB"
SUPERVISORS = "supervisor's bytes for each"
KINDS = {
    "memory-idle": (IDLE_BYTES, Load(IDLE, mode="idle")),
    "memory-streams": (STREAM_BYTES, Load(STREAMS, mode="stream", plan=f"event={EVENT} rate=1")),
}


def connections(place: Place, kind: str, effort: Effort, found: Results) -> None:
    """Bytes for each of many connections of this kind, for each target that is a proxy with one worker."""
    what, load = KINDS[kind]
    for run in range(effort.runs):
        for name in effort.targets:
            if name in ("direct", "swapyard-2") or (kind, name) in found.missing:
                continue
            try:
                with TARGETS[name](place, False) as target:
                    measured = grown(place, target, load, kind, found)
            except CannotMeasure as why:
                found.missing[kind, name] = str(why)
                continue
            measured[what] = measured.pop("each")
            found.add(kind, name, measured)
            progress(f"{kind} run {run + 1}/{effort.runs} {name}", measured)


def grown(place: Place, target: Running, load: Load, kind: str, found: Results) -> dict[str, float]:
    """What the processes of a fresh target grow by, for each connection."""
    ask(place, target)
    drive(place, target, WARM_UP, requests=WARM_REQUESTS)
    before = (procfs.memory(target.workers).rss, procfs.memory(target.supervisor).rss)
    after: list[int] = []

    def look() -> None:
        after.extend((procfs.memory(target.workers).rss, procfs.memory(target.supervisor).rss))
        after.append(sum(procfs.connections(target.workers, target.port)))

    outcome = drive(place, target, load, seconds=0.1, when_ready=look)
    found.blame(kind, target.name, outcome)
    if not after or not after[2]:
        raise CannotMeasure("none of its connections stayed open")
    workers, supervisor, count = after
    if count < load.connections:
        found.errors[kind, target.name] = (load.connections - count, "a connection was closed while others came")
    measured = {"each": (workers - before[0]) / count, HERE: workers / 2**20}
    if target.supervisor:
        measured[SUPERVISORS] = (supervisor - before[1]) / count
    return measured


def flat(place: Place, requests: int, found: Results) -> None:
    """Resident memory of a worker, and of the supervisor, before and after very many requests at 64 connections."""
    with fleet(place, [US]) as (targets, missing):
        found.missing |= {("flat", name): why for name, why in missing.items()}
        for target in targets:
            drive(place, target, Load(64), requests=min(FLAT_BEFORE, requests))
            before, beside = procfs.memory(target.workers).rss, procfs.memory(target.supervisor).rss
            outcome = drive(place, target, Load(64), requests=requests)
            after, after_beside = procfs.memory(target.workers).rss, procfs.memory(target.supervisor).rss
            measured = {
                GROWTH: after / before,
                "worker MB before": before / 2**20,
                "worker MB after": after / 2**20,
                "supervisor MB before": beside / 2**20,
                "supervisor MB after": after_beside / 2**20,
                "requests": float(outcome.operations),
            }
            found.add("flat", target.name, measured)
            found.blame("flat", target.name, outcome)
            progress("flat", measured)
