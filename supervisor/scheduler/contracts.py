"""The two replaceable parts of the scheduler, as contracts: *who is next* and *who must go*.

A policy answers the first, an eviction rule the second; the third question, *what is allowed now*, is the
phase table. Both are pure: no I/O, no clock, no random, bounded time. The core is their only caller and
executes every answer itself. How to write one: ``design.md``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from protocol.ids import CallId, LeaseId, ModelId
from supervisor.scheduler.events import Event, Snapshot
from supervisor.scheduler.phases import Phase


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """A setting that ``parse`` refused. ``path`` is dotted and relative to the settings of that part.

    A path that begins with ``models.`` means the entry of a model instead.
    """

    path: str
    text: str


class Declared(Protocol):
    """What the configuration says of one model that policies and eviction rules may need."""

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other names of the model."""
        ...

    @property
    def memory(self) -> Mapping[str, int]:
        """Bytes it takes on each device."""
        ...

    @property
    def pinned(self) -> bool:
        """Never evicted."""
        ...

    @property
    def evict_cost(self) -> int:
        """How much it costs to evict it, 1 or more, in no unit."""
        ...


Models = Mapping[ModelId, Declared]
"""The configured models, in configuration order."""


@dataclass(frozen=True, slots=True)
class Serve:
    """Grant up to ``count`` waiting requests of a ready model: oldest first, or as an ``Accounting`` policy picks."""

    model: ModelId
    count: int


@dataclass(frozen=True, slots=True)
class MakeWay:
    """Start this stopped model if the eviction rule finds room now."""

    model: ModelId


@dataclass(frozen=True, slots=True)
class Claim:
    """Reserve room for this blocked model: nothing starts against it, and what is in its way drains."""

    model: ModelId


@dataclass(frozen=True, slots=True)
class Nothing:
    """No more for now. Ask again at the next event, or at ``until`` (seconds, the core's clock)."""

    until: float | None = None


Choice = Serve | MakeWay | Claim | Nothing


@dataclass(frozen=True, slots=True)
class Waiting:
    """One waiting request, as a policy may see it."""

    call: CallId
    model: ModelId
    caller: str
    arrived: float
    number: int
    """Arrival order over all models."""


class Queue(Protocol):
    """What a policy may look at. Offered by the core during ``Policy.choose`` only."""

    def servable(self) -> Sequence[ModelId]:
        """Ready models with waiting requests and a free slot, oldest waiting request first."""
        ...

    def blocked(self) -> Sequence[ModelId]:
        """Stopped models with waiting requests whose case has changed since the core last tried them, oldest first.

        A model that was named once during an event is not offered again in it.
        """
        ...

    def waiting(self, model: ModelId) -> Sequence[Waiting]:
        """The waiting requests of a model in arrival order."""
        ...

    def in_arrival_order(self) -> Iterator[Waiting]:
        """All waiting requests of all models, whatever their phase, oldest first."""
        ...

    def claimable(self) -> Waiting | None:
        """The oldest request whose model is blocked; None while a claim stands, or if there is none."""
        ...

    def phase(self, model: ModelId) -> Phase:
        """Where a model stands."""
        ...

    def free(self, model: ModelId) -> int:
        """How many leases the limit of a model leaves."""
        ...

    def limit(self, model: ModelId) -> int:
        """Most leases of a model at once."""
        ...

    def all_blocked(self) -> Iterable[ModelId]:
        """Every stopped model with waiting requests, tried or not, in no order."""
        ...

    def making_room(self) -> Iterable[ModelId]:
        """Models that will start when what is in their way has stopped, oldest plan first."""
        ...

    def count(self, model: ModelId) -> int:
        """How many requests wait for a model."""
        ...

    def oldest(self, model: ModelId) -> Waiting | None:
        """The oldest waiting request of a model."""
        ...

    def callers(self, model: ModelId) -> Iterable[str]:
        """Who has requests waiting for a model, each once."""
        ...

    def first(self, model: ModelId, caller: str) -> Waiting | None:
        """The oldest waiting request of a caller for a model."""
        ...

    def in_the_way(self, model: ModelId) -> frozenset[ModelId]:
        """Who kept a blocked model from starting when it was last tried; empty: nobody, or nobody knows."""
        ...

    def ready_at(self, model: ModelId) -> float | None:
        """Since when a model that can serve has been ready."""
        ...


class Policy(Protocol):
    """Who is next. One instance for the life of its settings; the core calls it synchronously."""

    name: ClassVar[str]
    parks: ClassVar[bool]
    """May a worker keep a lease for its next request? Not if the accounts need every single request."""

    @property
    def min_resident(self) -> float:
        """Seconds after ready in which a model keeps its room, even idle."""
        ...

    @classmethod
    def parse(cls, settings: Mapping[str, Any], models: Models) -> tuple[Self, Sequence[SettingProblem]]:
        """A policy for ``routing.scheduler.settings.<name>``; with problems, the policy is not used."""
        ...

    def choose(self, queue: Queue, now: float) -> Choice:
        """The next step. Asked again after each answer until it says ``Nothing``."""
        ...

    def observe(self, event: Event, now: float) -> None:
        """Called once for each event, after the core has taken it in and before ``choose``."""
        ...

    def snapshot(self) -> Snapshot:
        """Its accounts as plain values."""
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Take over accounts that ``snapshot`` returned."""
        ...


@dataclass(frozen=True, slots=True)
class Swap:
    """A model became ready. ``gone``: what exited for it; ``seconds``: from the decision to ready, stops included."""

    model: ModelId
    gone: frozenset[ModelId]
    seconds: float


@runtime_checkable
class Accounting(Protocol):
    """What a policy offers besides ``Policy`` if it shares a model among callers.

    The core finds out by looking for these methods, and calls each at the moment at which the thing happens, also
    when a claim grants or when a worker is lost. What they keep belongs into ``Policy.snapshot``. Loads
    (``LoadAsked``) are nobody's requests and are not told.
    """

    def pick(self, queue: Queue, model: ModelId) -> CallId:
        """Which waiting request of a ready model gets the next lease; changes no account."""
        ...

    def arrived(self, request: Waiting) -> None:
        """A request waits."""
        ...

    def left(self, request: Waiting) -> None:
        """It waits no longer and has no lease: refused, or its caller has gone."""
        ...

    def granted(self, request: Waiting, lease: LeaseId) -> None:
        """It waits no longer: it has a lease."""
        ...

    def ended(self, lease: LeaseId, seconds: float) -> None:
        """A lease has ended after so long, whatever ended it."""
        ...

    def swapped(self, swap: Swap) -> None:
        """A start has succeeded."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """One running model, as an eviction rule may see it. Targets of plans under way are among them."""

    phase: Phase
    busy: bool
    """Has leases, or is on its way to requests that wait for it."""
    last_used: float
    movable: bool
    """False: it cannot be a victim (stuck, pinned, or it has not had its time yet)."""


@dataclass(frozen=True, slots=True)
class Evict:
    """The target may start when these have exited; empty: now."""

    victims: frozenset[ModelId] = frozenset()


@dataclass(frozen=True, slots=True)
class Blocked:
    """Not now: ``by`` would have to become idle or movable, or to go.

    The core asks again when a model starts, stops or becomes movable, and when one of ``by`` becomes idle (any, if
    it is empty). ``by`` holds an immovable model only if every way to make room needs one gone.
    """

    by: frozenset[ModelId]


@dataclass(frozen=True, slots=True)
class Never:
    """The target cannot run under these rules."""

    reason: str


Verdict = Evict | Blocked | Never


def forbidden(verdict: Verdict, standing: Mapping[ModelId, Standing], *, allow_busy: bool) -> str | None:
    """What this contract does not allow about a verdict, or None."""
    if isinstance(verdict, Never):
        return None
    named = verdict.by if isinstance(verdict, Blocked) else verdict.victims
    for model in sorted(named):
        entry = standing.get(model)
        if entry is None:
            return f"names {model!r}, which does not run"
        if isinstance(verdict, Blocked) or entry.phase is Phase.STOPPING:
            continue
        if not entry.movable:
            return f"evicts {model!r}, which cannot go"
        if entry.busy and not allow_busy:
            return f"evicts {model!r}, which is busy"
    return None


class Eviction(Protocol):
    """Who must go. Pure and silent; models that are stopping already are free victims, taken first."""

    name: ClassVar[str]

    @classmethod
    def parse(cls, settings: Mapping[str, Any], models: Models) -> tuple[Self, Sequence[SettingProblem]]:
        """A rule for ``routing.router.settings.<name>``; with problems, the rule is not used."""
        ...

    def victims(self, target: ModelId, standing: Mapping[ModelId, Standing], *, allow_busy: bool) -> Verdict:
        """Which of the running models must exit before ``target`` starts; it is not itself in ``standing``."""
        ...

    def snapshot(self) -> Snapshot:
        """Its memory, if it has any, as plain values."""
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Take over what ``snapshot`` returned."""
        ...
