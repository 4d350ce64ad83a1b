"""The supervisor's side of ``lease_world.py``: real core, loop, performer, worker socket and hub; played processes.

Keeps the truth that the core can only infer: which processes accept connections, and which exchange runs on which.
"""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, cast

from gateway.leases import Held
from protocol import messages as wire
from protocol.catalogue import Catalogue, CatalogueModel
from protocol.errors import PeerGone
from protocol.ids import ModelId, WorkerId
from protocol.worker_hub import WorkerHub
from supervisor.loop import Loop
from supervisor.perform import Performer
from supervisor.questions import Questions
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler import explain
from supervisor.scheduler.core import Core
from supervisor.scheduler.evictions.group import Group, Groups
from supervisor.scheduler.evictions.memory import Memory
from supervisor.scheduler.invariants import check
from supervisor.scheduler.phases import IllegalTransition, Phase
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import ModelRule, Rules
from supervisor.worker_socket import WorkerSocket
from tests.support.lease_worker import SimulatedWorker

MODELS = [ModelId(name) for name in "abc"]
ALIAS = "x"
"""A name that reloads move from model to model."""
SLOTS = 3
Process = tuple[ModelId, int]
_GENTLE = (do.StopReason.EVICTED, do.StopReason.TTL, do.StopReason.DRAINED, do.StopReason.ABORTED)
_NEEDS = {MODELS[0]: {"gpu": 5}, MODELS[1]: {"gpu": 5}, MODELS[2]: {"gpu": 9}}
_EVICTIONS = (Groups({}), Memory({"gpu": 10}, _NEEDS, {MODELS[0]: 3}), Groups(dict.fromkeys(MODELS, Group(swap=False))))


class VirtualTime:
    """Stands in for ``supervisor.clock``; one world runs at a time."""

    now = 0.0


class Watched(Core):
    """Remembers what the phase table forbade, which the loop only logs."""

    forbidden: str = ""

    def handle(self, event: ev.Event, now: float) -> list[do.Effect]:
        try:
            return super().handle(event, now)
        except IllegalTransition as error:
            self.forbidden = f"{event}: {error}"
            raise


class PlayedSupervisor:
    """``settings``: which eviction rule, the limit, the time to live."""

    def __init__(self, seen: Counter[str]) -> None:
        self.seen = seen
        self.alias = MODELS[0]
        self.settings: tuple[int, int, float] = (0, 2, 0.0)
        self.revision = 1
        self.starting: list[Process] = []
        self.ready: list[Process] = []
        self.stopping: list[Process] = []
        self.buried: list[tuple[bytes, deque[bytes]]] = []
        """What workers that are lost had sent."""
        self.core = Watched(self.rules(), "i")
        self.loop = Loop(self.core, (self.observe,))
        self.open_questions = 0
        played: Any = self
        self.questions = Questions(
            "i", post=self.loop.post, resolve=self.resolve, status=played, logs=played, queue=played, explain=played,
            reload=played, record=played,
        )  # fmt: skip
        self.desk = WorkerSocket(
            post=self.loop.post,
            resolve=self.resolve,
            upstream=lambda model, generation: f"http://{model}/{generation}",
            loading=lambda model, since: explain.loading(self.core.board.models[model], since),
            adopted=lambda worker, revision: None,
            questions=self.questions,
            revision=lambda: self.revision,
        )
        self.hub = WorkerHub(
            "",
            "i",
            welcome=lambda: self.catalogue(MODELS),
            on_message=self.desk.received,
            on_hello=lambda worker, slot, pid: None,
            on_fault=self.fault,
            make_socket=lambda: cast("Any", self),
        )
        self.desk.send = self.hub.send
        self.loop.perform = Performer(played, self.desk, self.questions)
        self.workers = [SimulatedWorker(self, slot) for slot in range(SLOTS)]

    # The hub's socket

    def send(self, frames: Sequence[bytes]) -> None:
        for worker in self.workers:
            if worker.identity == frames[0]:
                worker.down.append(frames[-1])
                return
        raise PeerGone("no such worker")

    def deliver(self, worker: SimulatedWorker, up: int, down: int) -> None:
        """So many messages each way, in order."""
        for _ in range(min(up, len(worker.up.frames))):
            self.hub._arrived([worker.identity, worker.up.frames.popleft()])
        for _ in range(min(down, len(worker.down))):
            worker.receive(worker.down.popleft())

    def deliver_all(self) -> None:
        """Until everybody has said everything."""
        while any(worker.up.frames or worker.down for worker in self.workers):
            for worker in self.workers:
                self.deliver(worker, up=99, down=99)
        for model in self.core.board.models.values():
            if model.waiting and model.phase is Phase.READY and model.free <= 0:
                kept = [held for worker in self.workers for held in worker.idle_of(model.id, model.generation)]
                assert not kept, f"somebody waits for a lease that a worker only keeps: {model.parking}"

    def deliver_late(self) -> None:
        """What a worker had sent arrives after its end."""
        identity, frames = self.buried.pop()
        for frame in frames:
            self.seen["message of a lost worker"] += 1
            self.hub._arrived([identity, frame])

    def fault(self, worker: WorkerId, pid: int, why: str) -> None:
        raise AssertionError(f"{worker}: {why}")

    def replace(self, slot: int) -> None:
        """A worker's process has exited, and another one fills its slot."""
        lost = self.workers[slot]
        self.seen["worker lost"] += 1
        self.workers[slot] = SimulatedWorker(self, slot)
        self.hub.forget(lost.link.worker)
        self.desk.lost(lost.link.worker)
        self.buried.append((lost.identity, lost.up.frames))
        self.deliver(self.workers[slot], up=1, down=1)

    # Processes (``supervisor.processes``)

    def start(self, model: ModelId, generation: int) -> None:
        assert not any(name == model for name, _ in (*self.starting, *self.ready, *self.stopping))
        self.starting.append((model, generation))

    def stop(self, model: ModelId, generation: int, reason: do.StopReason) -> None:
        using = [held for worker in self.workers for held in worker.exchanges if held.generation == generation]
        assert not (using and reason in _GENTLE), f"{model} was stopped ({reason}) while {len(using)} exchanges ran"
        self.seen[f"stop {reason}"] += 1
        self.stopping.append((model, generation))

    def become_ready(self, process: Process) -> None:
        self.starting.remove(process)
        self.ready.append(process)
        self.loop.post(ev.ModelReady(*process))

    def fail_to_start(self, process: Process) -> None:
        """Perhaps after it was told to stop: then it is on its way out already."""
        self.starting.remove(process)
        if process not in self.stopping:
            self.stopping.append(process)
        self.loop.post(ev.ModelStartFailed(*process, "no"))

    def exit(self, process: Process) -> None:
        assert process in (*self.starting, *self.ready, *self.stopping), "one generation, two exits"
        for processes in (self.starting, self.ready, self.stopping):
            processes[:] = [other for other in processes if other != process]
        self.loop.post(ev.ModelExited(*process, "exited"))

    # What workers meet (``lease_worker.Around``)

    def nanoseconds(self) -> int:
        return int(VirtualTime.now * 1e9)

    def lives(self, model: ModelId, generation: int) -> bool:
        return (model, generation) in self.ready

    def begun(self, held: Held) -> None:
        busy = [other.lease for worker in self.workers for other in worker.exchanges]
        assert held.lease not in busy, "one lease, two exchanges"

    # Configuration (``wiring.App``)

    def resolve(self, name: str) -> ModelId | None:
        model = self.alias if name == ALIAS else ModelId(name)
        return model if model in self.core.board.rules.models else None

    def catalogue(self, models: Sequence[ModelId]) -> Catalogue:
        aliases = {self.alias: (ALIAS,)}
        found = tuple(CatalogueModel(id=name, aliases=aliases.get(name, ())) for name in models)
        return Catalogue(revision=self.revision, models=found)

    def rules(self, models: Sequence[ModelId] = MODELS) -> Rules:
        eviction, limit, ttl = self.settings
        rule = ModelRule(limit=limit, queue_limit=3, ttl=ttl)
        return Rules(dict.fromkeys(models, rule), Fifo(5.0), _EVICTIONS[eviction], parking=True)

    def reload(self, changed: frozenset[ModelId], models: Sequence[ModelId]) -> None:
        """As ``take_over`` does it."""
        self.revision += 1
        self.hub.broadcast(wire.CatalogueChanged(catalogue=self.catalogue(models)))
        self.loop.post(ev.RulesChanged(self.rules(models), changed, 20.0))

    def unload(self, model: ModelId, *, drain: bool) -> None:
        self.open_questions += 1
        self.loop.post(ev.UnloadAsked(self.questions._remember(lambda _: self.answered()), (model,), drain))

    def answered(self) -> None:
        self.open_questions -= 1

    # After each event

    def observe(self, event: ev.Event, effects: Sequence[do.Effect]) -> None:
        self.seen[type(event).__name__] += 1
        for effect in effects:
            self.seen[type(effect).__name__] += 1
            if isinstance(effect, do.Note):
                self.seen["claim"] += "claims room" in effect.text
                assert effect.level != "error", effect.text
        check(self.core.board, effects)
