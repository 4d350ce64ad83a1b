"""A gateway worker without sockets and tasks, for ``lease_world.py``: the real link and the real lease book.

Its frames lie in two queues until the world delivers them, so that messages cross and come late. Its exchanges
begin with a lease and end when the world says so, or when the lease is cut.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from gateway.leases import Answer, Held, LeaseBook, State
from protocol import messages as wire
from protocol.ids import CallId, LeaseId, ModelId
from protocol.worker_link import WorkerLink
from protocol.zmq_trio import Socket


class Around(Protocol):
    """What a worker meets outside: time, living processes, and the count of what happened."""

    seen: Counter[str]

    def nanoseconds(self) -> int:
        """The clock of the machine."""
        ...

    def lives(self, model: ModelId, generation: int) -> bool:
        """Does this process accept connections?"""
        ...

    def begun(self, held: Held) -> None:
        """An exchange begins on this lease."""
        ...


@dataclass
class Wire:
    """The sending side of a socket."""

    frames: deque[bytes] = field(default_factory=deque)

    def send(self, frames: list[bytes]) -> None:
        self.frames.append(frames[-1])


class SimulatedWorker:
    """One worker process."""

    def __init__(self, around: Around, slot: int) -> None:
        self.around = around
        self.up = Wire()
        self.down: deque[bytes] = deque()
        self.exchanges: list[Held] = []
        self.calls: dict[CallId, str] = {}
        self.asked = 0
        self.answered = 0
        self.cancelled = 0
        self.link = WorkerLink(
            "",
            slot=slot,
            on_cut=self.cut,
            on_drain=lambda _: self.book.drain(),
            on_recall=self.recall,
            on_catalogue=lambda catalogue: self.book.adopt(catalogue),  # noqa: PLW0108 (made below)
            make_socket=lambda _: cast("Socket", self.up),
        )
        self.book = LeaseBook(self.link, now=around.nanoseconds)
        self.identity = self.link.worker.encode()
        self.link._send(wire.Hello(version=wire.VERSION, slot=slot, pid=slot))

    # What the supervisor says

    def receive(self, frame: bytes) -> None:
        self.link._arrived([frame])

    def recall(self, message: wire.Recall) -> None:
        generation = message.model, message.generation
        mine = [held for held in self.book._of(*generation) if held.parkable]
        idle = sum(held.state is State.IDLE for held in mine)
        owed = self.book._owed.get(generation, 0)
        self.book.recall(message)
        went = idle - sum(held.state is State.IDLE for held in mine)
        assert went == min(idle, message.count), "idle ones go first, and at once"
        after = self.book._owed.get(generation, 0) - owed
        there = len(mine) - owed
        assert went + after == min(there, message.count), "a recall gets as many as there are, and no more"
        self.around.seen["recall of idle"] += went
        self.around.seen["recall of busy"] += after
        self.around.seen["recall too late"] += message.count > there

    def cut(self, lease: LeaseId) -> None:
        held = self.book._held.get(lease)
        self.around.seen[f"cut of {held.state.value}" if held is not None else "cut too late"] += 1
        self.book.cut(lease)
        assert held is None or held.state is State.ENDED

    # What clients do

    def ask(self, name: str) -> None:
        """A request arrives: a kept lease, or a question."""
        held = self.book.take(name)
        if held is None:
            self.request(name)
        elif self.around.lives(held.model, held.generation):
            self.around.seen["reuse"] += 1
            self.begin(held)
        else:
            self.around.seen["dropped"] += 1
            self.book.dropped(held)
            assert not any(other.generation == held.generation for other in self.book._idle.get(name, ()))
            self.request(name)

    def ask_on(self, generation: int) -> None:
        """A request that finds a kept lease of this generation, if there is one."""
        found = [name for name, idle in self.book._idle.items() if idle and idle[-1].generation == generation]
        for name in found:
            self.ask(name)

    def idle_of(self, model: ModelId, generation: int) -> list[Held]:
        """What is kept of a generation and not in use."""
        return [held for held in self.book._of(model, generation) if held.state is State.IDLE]

    def names_of(self, model: ModelId) -> set[str]:
        """Every name of a model in the catalogue that is in force here."""
        found = [entry for entry in self.link.catalogue.models if entry.id == model]
        return {str(model), *(alias for entry in found for alias in entry.aliases)}

    def request(self, name: str) -> None:
        calls: list[CallId] = []
        self.asked += 1
        calls.append(self.book.request(name, caller="c", done=lambda answer: self.answer(calls[0], answer)))
        self.calls[calls[0]] = name
        self.around.seen["request"] += 1

    def answer(self, call: CallId, answer: Held | Answer) -> None:
        assert call in self.calls, "answered twice, or after it was cancelled"
        del self.calls[call]
        self.answered += 1
        self.around.seen[type(answer).__name__] += 1
        if isinstance(answer, Held):
            self.begin(answer)

    def begin(self, held: Held) -> None:
        self.around.begun(held)
        self.exchanges.append(held)
        held.on_cut = lambda: self.end(held)

    def leave(self, call: CallId) -> None:
        """A client leaves before its lease has come."""
        del self.calls[call]
        self.cancelled += 1
        self.around.seen["cancel"] += 1
        self.book.cancel(call)

    def end(self, held: Held) -> None:
        """An exchange ends, well or not."""
        self.exchanges.remove(held)
        sound = self.around.lives(held.model, held.generation)
        self.book.give_back(held, reusable=sound)
        self.around.seen["park" if held.state is State.IDLE else "release"] += 1
        row: dict[str, Any] = {"lease": held.lease, "model": held.model, "generation": held.generation}
        row |= {"parkable": held.parkable, "ended": held.last_used, "total": 0.5}
        self.link.report(wire.Outcome(caller="c", path="/", status=200 if sound else 502, **row))

    def sweep(self) -> None:
        before = self.book.statistics()["idle"]
        self.book.sweep()
        self.around.seen["swept"] += before - self.book.statistics()["idle"]

    def check(self) -> None:
        """What a book must always be."""
        held = list(self.book._held.values())
        assert {one.lease for one in held if one.state is State.BUSY} == {one.lease for one in self.exchanges}
        idle = [one for kept in self.book._idle.values() for one in kept]
        assert all(one.state is State.IDLE and one.reusable for one in idle)
        assert len(idle) + len(self.exchanges) == len(held)
        in_use = Counter((one.model, one.generation) for one in self.exchanges if one.parkable)
        assert all(0 < owed <= in_use[generation] for generation, owed in self.book._owed.items())
        assert not any((one.model, one.generation) in self.book._owed for one in idle), "kept although it is recalled"
        assert all(one.name in self.names_of(one.model) for one in idle), "kept under a name that means something else"
        assert self.asked == self.answered + self.cancelled + len(self.calls)
        for kept in self.book._idle.values():
            assert [one.last_used for one in kept] == sorted(one.last_used for one in kept)
