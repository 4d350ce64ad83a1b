"""The leases in this worker's keeping: asked for, used, parked for the next request, given back.

A parked lease spares the next request for the same name the question; it is kept for ``PARKED_FOR`` seconds at
most, and given back at once when it is recalled. All of it runs on the trio thread and none of it waits, but
``acquire``. Used by the relay and the lane; ``gateway/serve.py`` connects it to ``protocol/worker_link.py``.
"""

import time
from collections.abc import Callable, Iterator
from enum import Enum

from gateway.lease import LeaseSource
from gateway.routing import Index
from protocol.catalogue import Catalogue
from protocol.errors import ConversationEnded, LocalProtocolError
from protocol.ids import CallId, LeaseId, ModelId, Refusal
from protocol.lease_calls import LeaseAnswer
from protocol.messages import Granted, Recall, Refused
from protocol.worker_link import AcquireRefused, answer_to

PARKED_FOR = 1.0
"""Seconds that an unused lease is kept."""

Answer = AcquireRefused | ConversationEnded


class State(Enum):
    """Where a lease is."""

    BUSY = "busy"
    IDLE = "idle"
    ENDED = "ended"


_BUSY, _IDLE, _ENDED = State
# A member of an enumeration costs more to look up than a global, and these are looked up for each request.


class Held:
    """One lease in this worker's keeping, of one exchange at a time. ``name``: as clients asked."""

    __slots__ = (
        "generation",
        "last_used",
        "lease",
        "loading",
        "model",
        "name",
        "on_cut",
        "parkable",
        "reusable",
        "reused",
        "state",
        "upstream",
        "was_cut",
    )

    def __init__(self, name: str, granted: Granted) -> None:
        self.lease: LeaseId = granted.lease
        self.model: ModelId = granted.model
        self.generation: int = granted.generation
        self.upstream: str = granted.upstream
        self.name = name
        self.parkable: bool = granted.parkable
        """As granted: outcomes say so, because only they tell the scheduler of exchanges on a kept lease."""
        self.reusable: bool = granted.parkable
        """It may be parked when the exchange in hand has ended."""
        self.reused = False
        """It was parked before the exchange in hand."""
        self.loading: float = granted.loading
        """Seconds that its model was started for the exchange in hand."""
        self.last_used = 0
        """``time.monotonic_ns()`` at the end of its last exchange."""
        self.on_cut: Callable[[], None] | None = None
        """Ends the exchange in hand, which then gives the lease back."""
        self.was_cut = False
        self.state = _BUSY


class LeaseBook:
    """``now``: a clock like ``time.monotonic_ns``."""

    def __init__(self, link: LeaseSource, now: Callable[[], int] = time.monotonic_ns) -> None:
        self._link = link
        self._now = now
        self._held: dict[LeaseId, Held] = {}
        self._idle: dict[str, list[Held]] = {}
        """Parked leases by name, longest unused first."""
        self._owed: dict[tuple[ModelId, int], int] = {}
        """Recalled while in use, by model and generation: so many of those that end next are released."""
        self._index: Index | None = None
        self._draining = False

    def take(self, name: str) -> Held | None:
        """A parked lease for this name, the youngest; None: ``request`` one."""
        idle = self._idle.get(name)
        if not idle:
            return None
        held = idle.pop()
        held.state = _BUSY
        held.reused = True
        held.loading = 0.0
        return held

    def request(
        self,
        name: str,
        *,
        caller: str,
        deadline_in: float | None = None,
        done: Callable[[Held | Answer], None],
    ) -> CallId:
        """Ask the supervisor; ``done`` gets the answer, once, never before this returns and not after ``cancel``.

        Raises ``AcquireRefused`` or ``ConversationEnded`` if there is no asking; then ``done`` is not called.
        """

        def answered(answer: LeaseAnswer) -> None:
            match answer:
                case Granted():
                    done(self._enter(name, answer))
                case Refused(refusal=refusal, text=text, retry_after=retry_after):
                    done(AcquireRefused(refusal, text, retry_after))
                case None:
                    done(ConversationEnded("the conversation ended"))

        return self._link.request_lease(name, caller=caller, deadline_in=deadline_in, done=answered)

    def cancel(self, call: CallId) -> None:
        """Nobody waits for this answer any more; after the answer it does nothing."""
        self._link.cancel(call)

    async def acquire(self, name: str, *, caller: str, deadline_in: float | None = None, fresh: bool = False) -> Held:
        """A lease: a parked one (unless ``fresh``), or the supervisor's. Cancelling it leaves nothing behind."""
        held = None if fresh else self.take(name)
        if held is not None:
            return held

        def ask(done: Callable[[Held | Answer], None]) -> CallId:
            return self.request(name, caller=caller, deadline_in=deadline_in, done=done)

        answer = await answer_to(ask, self.cancel)
        if not isinstance(answer, Held):
            raise answer
        if answer.was_cut:
            self.give_back(answer, reusable=False)
            raise AcquireRefused(Refusal.UNLOADED, f"model {answer.model!r} was stopped")
        return answer

    def give_back(self, held: Held, *, reusable: bool = True) -> None:
        """The exchange has ended: the lease is parked, or released if it may not be. Once for each exchange."""
        if held.state is not _BUSY:
            raise LocalProtocolError(f"lease {held.lease} of {held.model!r} is {held.state.value}, not in use")
        held.last_used = self._now()
        held.on_cut = None
        owed = bool(self._owed) and self._settles(held)
        if reusable and held.reusable and not owed:
            held.state = _IDLE
            idle = self._idle.get(held.name)
            if idle is None:
                self._idle[held.name] = [held]
            else:
                idle.append(held)
        else:
            self._release(held)

    def dropped(self, held: Held) -> None:
        """Its upstream turned out dead: this gives it back, and nothing of its generation is used again."""
        self.give_back(held, reusable=False)
        self._end_use(list(self._of(held.model, held.generation)))

    def recall(self, message: Recall) -> None:
        """Give back up to ``count``: idle ones now, longest unused first, then those whose exchange ends first."""
        generation = message.model, message.generation
        mine = [held for held in self._of(*generation) if held.parkable]
        idle = sorted((held for held in mine if held.state is _IDLE), key=_last_used)
        self._end_use(idle[: message.count])
        owed = self._owed.get(generation, 0) + max(0, message.count - len(idle))
        owed = min(owed, len(mine) - len(idle))
        if owed:
            self._owed[generation] = owed

    def cut(self, lease: LeaseId) -> None:
        """End the exchange of this lease; an idle one is released."""
        held = self._held.get(lease)
        if held is None:
            return
        self._end_use([held])
        if held.state is _BUSY:
            held.was_cut = True
            if held.on_cut is not None:
                held.on_cut()

    def sweep(self) -> None:
        """Release what was idle for ``PARKED_FOR``; called a few times a second."""
        oldest = self._now() - int(PARKED_FOR * 1e9)
        for name, idle in list(self._idle.items()):
            stale = 0
            while stale < len(idle) and idle[stale].last_used <= oldest:
                self._release(idle[stale])
                stale += 1
            del idle[:stale]
            if not idle:
                del self._idle[name]

    def adopt(self, catalogue: Catalogue) -> None:
        """A new catalogue: a lease is not used again under a name that means something else now."""
        self._index = Index(catalogue)
        self._end_use([held for held in self._held.values() if not self._means(held.name, held.model)])

    def drain(self) -> None:
        """This worker will end: nothing is parked any more."""
        self._draining = True
        self._end_use(list(self._held.values()))

    def statistics(self) -> dict[str, int]:
        """How many leases there are, and how many of them are idle."""
        return {"leases": len(self._held), "idle": sum(len(idle) for idle in self._idle.values())}

    def _enter(self, name: str, granted: Granted) -> Held:
        held = Held(name, granted)
        held.reusable = granted.parkable and not self._draining and self._means(name, granted.model)
        self._held[held.lease] = held
        return held

    def _means(self, name: str, model: ModelId) -> bool:
        return self._index is None or self._index.id_of(name) == model

    def _of(self, model: ModelId, generation: int) -> Iterator[Held]:
        return (held for held in self._held.values() if held.model == model and held.generation == generation)

    def _end_use(self, leases: list[Held]) -> None:
        """Release the idle ones, and let none of them be parked again."""
        for held in leases:
            held.reusable = False
            if held.state is _IDLE:
                self._idle[held.name].remove(held)
                self._release(held)

    def _settles(self, held: Held) -> bool:
        """Is it one of those that its generation owes? The scheduler counts parkable leases, whatever ended them."""
        generation = held.model, held.generation
        owed = self._owed.get(generation, 0) if held.parkable else 0
        if owed > 1:
            self._owed[generation] = owed - 1
        elif owed:
            del self._owed[generation]
        return owed > 0

    def _release(self, held: Held) -> None:
        held.state = _ENDED
        del self._held[held.lease]
        self._link.release(held.lease, held.last_used)


def _last_used(held: Held) -> int:
    return held.last_used
