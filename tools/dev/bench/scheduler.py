"""What one event costs the scheduler core, and what one decision costs an eviction rule.

Synchronous and without I/O: the core itself, fed with events that a shell would send. The seeds are fixed.
"""

import itertools
import random
import statistics
import time
from collections.abc import Callable

from config.sets import compile_sets
from protocol.ids import CallId, LeaseId, ModelId, WorkerId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.contracts import Eviction, Policy, Standing
from supervisor.scheduler.core import Core
from supervisor.scheduler.evictions.group import Group, Groups
from supervisor.scheduler.evictions.matrix import Matrix
from supervisor.scheduler.evictions.memory import Memory
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.policies.window import Window
from supervisor.scheduler.state import ModelRule, Rules
from tools.dev.bench.table import RUNS, Case, measure

WORKER = WorkerId("0.1.w")
IN_FLIGHT = 50
GIB = 2**30


class Traffic:
    """A core in mid-life: ``hot`` models are ready, and one busy model is in the way of ``waiting`` requests.

    ``held``: leases that the hot models have all the time; without any, each becomes idle at every release.
    ``policy``: ``fifo``, unless it says otherwise; ``callers``: how many there are.
    """

    def __init__(
        self,
        models: int,
        hot: int,
        waiting: int,
        held: int = IN_FLIGHT,
        *,
        policy: Policy | None = None,
        callers: int = 1,
    ) -> None:
        self._callers = itertools.cycle([f"caller {number}" for number in range(callers)])
        self._names = [ModelId(f"m{number:03}") for number in range(models)]
        self._hot = self._names[:hot]
        beside = Group(swap=False, exclusive=False, persistent=True)
        rule = ModelRule(limit=IN_FLIGHT * 2, queue_limit=1_000_000, queue_timeout=1e9)
        membership = dict.fromkeys(self._hot, beside)
        self._core = Core(Rules(dict.fromkeys(self._names, rule), policy or Fifo(), Groups(membership)), "i")
        self._now = 1000.0
        self._calls = itertools.count()
        for generation, name in enumerate(self._hot, 1):
            self._send(ev.LoadAsked(self._call(), name))
            self._send(ev.ModelReady(name, generation))
        self._held = [self._ask(self._hot[number % hot]) for number in range(held)]
        busy, others = self._names[hot : hot + 1], self._names[hot + 1 :]
        for name in busy:
            self._ask(name)
            self._send(ev.ModelReady(name, hot + 1))
        for number in range(waiting):
            self._ask(others[number % len(others)])

    def per_event(self, events: int = 4000) -> float:
        """Seconds for one event: requests for hot models come and go."""
        began = time.perf_counter()
        for number in range(events // 2):
            self._now += 1e-6
            self._held.append(self._ask(self._hot[number % len(self._hot)]))
            self._send(ev.LeaseReleased(self._held[number], self._now))
        taken = time.perf_counter() - began
        del self._held[: events // 2]
        return taken / events

    def _ask(self, model: ModelId) -> LeaseId:
        for effect in self._send(ev.RequestArrived(self._call(), model, WORKER, next(self._callers))):
            if isinstance(effect, do.Grant):
                return effect.lease
        return LeaseId("")

    def _call(self) -> CallId:
        return CallId(f"c{next(self._calls)}")

    def _send(self, event: ev.Event) -> list[do.Effect]:
        return self._core.handle(event, self._now)


def decision(rule: Eviction, targets: list[ModelId], running: list[dict[ModelId, Standing]]) -> Callable[[], float]:
    """The median over targets and standings, in seconds."""
    pairs = list(itertools.product(targets, running))

    def run() -> float:
        taken = []
        for target, standing in pairs:
            beside = {name: entry for name, entry in standing.items() if name != target}
            began = time.perf_counter()
            rule.victims(target, beside, allow_busy=False)
            taken.append(time.perf_counter() - began)
        return statistics.median(taken)

    return run


def standings(rng: random.Random, names: list[ModelId], running: int, count: int = 10) -> list[dict[ModelId, Standing]]:
    """Random running models, a quarter of them busy."""
    found = []
    for _ in range(count):
        chosen = sorted(rng.sample(names, running), key=names.index)
        found.append({name: Standing(Phase.READY, rng.random() < 0.25, rng.random(), True) for name in chosen})
    return found


def matrix_of_many(rng: random.Random) -> Callable[[], float]:
    """200 models, 50 sets: each an ``&`` of three to six alternatives of two to five models, some by reference."""
    names = [ModelId(f"m{number}") for number in range(200)]
    sets: dict[str, str] = {}
    for number in range(50):
        chosen = rng.sample(names, 24)
        sizes = [rng.randint(2, 4) for _ in range(rng.randint(3, 6))]
        parts = [f"({' | '.join(chosen.pop() for _ in range(size))})" for size in sizes]
        if number >= 40:
            parts = [f"+s{number - 40}", f"({chosen[0]} | {names[number]})"]
        sets[f"s{number}"] = " & ".join(parts)
    program, problems = compile_sets(sets, {}, names)
    if problems:
        raise RuntimeError(problems)
    return decision(Matrix(program), rng.sample(names, 20), standings(rng, names, 8))


def matrix_of_one(rng: random.Random, expression: str, names: list[ModelId]) -> Callable[[], float]:
    """One large set, with half of its models running."""
    program, problems = compile_sets({"large": expression}, {}, names)
    if problems:
        raise RuntimeError(problems)
    return decision(Matrix(program), rng.sample(names, 12), standings(rng, names, 12))


def memory_of_many(rng: random.Random) -> Callable[[], float]:
    """200 models on two devices of 72 GiB, 12 running, which take about as much."""
    names = [ModelId(f"m{number}") for number in range(200)]
    needs = {name: {"gpu0": rng.choice([0, 4, 8, 14]) * GIB, "gpu1": rng.choice([0, 4, 8, 14]) * GIB} for name in names}
    costs = {name: rng.choice([1, 1, 1, 3, 10]) for name in names}
    rule = Memory({"gpu0": 72 * GIB, "gpu1": 72 * GIB}, needs, costs)
    return decision(rule, rng.sample(names, 20), standings(rng, names, 12))


def main() -> None:
    """Print the tables."""
    rng = random.Random(4)  # noqa: S311 (a seeded generator is what a bench needs)
    names = [ModelId(f"m{number}") for number in range(24)]
    many = [ModelId(f"m{number}") for number in range(24 * 24)]
    rows = [many[number * 24 : number * 24 + 24] for number in range(24)]
    cases = [
        Case("event, 100 models, no queue", Traffic(100, 100, 0).per_event, 20.0),
        *(
            Case(f"event, 100 models, {waiting:,} wait for others", Traffic(100, 5, waiting).per_event, 50.0)
            for waiting in (94, 1_000, 10_000)
        ),
        *(
            Case(f"the same, and each leaves its model idle, {waiting:,}", Traffic(100, 5, waiting, 0).per_event, 50.0)
            for waiting in (94, 10_000)
        ),
        Case(
            "event under window, 100 callers, 10,000 wait for others",
            Traffic(100, 5, 10_000, policy=Window(), callers=100).per_event,
            100.0,
        ),
        Case("matrix, 200 models, 50 sets", matrix_of_many(rng), 300.0),
        Case("matrix, 24 | of 24 & each", matrix_of_one(rng, " | ".join(" & ".join(row) for row in rows), many), 300.0),
        Case(
            "matrix, 24 & of 24 | each",
            matrix_of_one(rng, " & ".join(f"({' | '.join(row)})" for row in rows), many),
            300.0,
        ),
        Case(
            "matrix, 12 & of pairs of 24",
            matrix_of_one(rng, " & ".join(f"({a} | {b})" for a, b in zip(names[::2], names[1::2], strict=True)), names),
            300.0,
        ),
        Case("memory, 200 models, 2 devices, 12 running", memory_of_many(rng), 300.0),
    ]
    print("scheduler")
    print("\n".join(measure(cases)))
    few, many_wait = cases[1].run, cases[3].run
    ratios = [many_wait() / few() for _ in range(RUNS)]
    shown = " ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"10,000 waiting against 94: {statistics.median(ratios):.2f} times (target 1.3); all runs {shown}")
    ratios = [cases[6].run() / many_wait() for _ in range(RUNS)]
    shown = " ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"window against fifo: {statistics.median(ratios):.2f} times (target 2); all runs {shown}")
