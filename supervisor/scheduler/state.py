"""What the scheduler knows: models, waiting requests, leases, plans, and the indexes over them.

Data and book-keeping only; nothing here decides and nothing emits effects. ``steps.py`` changes it, the core
and its parts read it. Indexes that answer "who could go on" are kept up to date by ``Board.refile``, so that
an event costs the same however many requests wait for other models.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from protocol.ids import CallId, LeaseId, ModelId, WorkerId
from supervisor.scheduler.backoff import FailureAccount
from supervisor.scheduler.contracts import Eviction, Policy, Standing
from supervisor.scheduler.phases import RUNNING, Phase

NEVER = float("inf")

_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(frozen=True, slots=True)
class ModelRule:
    """What the configuration says of one model. Times in seconds; ``ttl`` 0: never."""

    limit: int = 10
    """Most leases at once."""
    queue_limit: int = 512
    """Most requests waiting beyond ``limit``."""
    queue_timeout: float = 1800.0
    ttl: float = 0.0
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """One configuration, as the scheduler needs it. The order of ``models`` breaks ties."""

    models: Mapping[ModelId, ModelRule]
    policy: Policy
    eviction: Eviction


@dataclass(slots=True)
class Waiter:
    """One request in the queue; a load (``worker`` None) is one that wants no lease."""

    call: CallId
    model: ModelId
    worker: WorkerId | None
    caller: str
    arrived: float
    number: int
    deadline: float
    wants_progress: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """Permission for one exchange with one generation, held by one worker."""

    id: LeaseId
    call: CallId
    model: ModelId
    generation: int
    worker: WorkerId
    granted: float


@dataclass(slots=True)
class Plan:
    """A start that waits for its victims. ``victims``: all it ever had, also those that have exited."""

    target: ModelId
    number: int
    victims: set[ModelId] = field(default_factory=set)


@dataclass(slots=True)
class ModelState:
    """One configured model. ``generation`` 0: never started."""

    id: ModelId
    rule: ModelRule
    order: int
    phase: Phase = Phase.STOPPED
    generation: int = 0
    leases: dict[LeaseId, Lease] = field(default_factory=dict)
    waiting: dict[CallId, Waiter] = field(default_factory=dict)
    plan: Plan | None = None
    failures: FailureAccount = field(default_factory=FailureAccount)
    last_used: float = 0.0
    ready_at: float | None = None
    wanted_at: float = 0.0
    """When its last start was decided; with ``ready_at``: how long a swap takes."""
    last_swap_time: float = 0.0
    starts: int = 0
    swaps: int = 0
    stuck_pid: int | None = None
    stop_asked: bool = False
    retired: bool = False
    """Removed by a reload; forgotten as soon as it has stopped."""
    ttl_timer: float = NEVER
    deadline_timer: float = NEVER
    """The earliest entry in the heap for its queue. It stays there when its waiter goes, and is used again."""

    @property
    def busy(self) -> bool:
        """Has leases, or is on its way to requests that wait for it."""
        return bool(self.leases) or (
            bool(self.waiting) and self.phase in (Phase.MAKING_ROOM, Phase.STARTING, Phase.READY)
        )

    @property
    def free(self) -> int:
        """Leases that the limit leaves."""
        return self.rule.limit - len(self.leases)

    def standing(self) -> Standing:
        """As an eviction rule sees it."""
        movable = self.phase is not Phase.STUCK and not self.rule.pinned
        return Standing(phase=self.phase, busy=self.busy, last_used=self.last_used, movable=movable)


class Board:
    """All of it. Iteration over models is in configuration order."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.models: dict[ModelId, ModelState] = {
            model: ModelState(model, rule, order) for order, (model, rule) in enumerate(rules.models.items())
        }
        self.waiters: dict[CallId, Waiter] = {}
        self.leases: dict[LeaseId, Lease] = {}
        self.lease_of: dict[CallId, LeaseId] = {}
        self.calls_by_worker: dict[WorkerId, dict[CallId, None]] = {}
        self.leases_by_worker: dict[WorkerId, dict[LeaseId, None]] = {}
        self.running: dict[ModelId, None] = {}
        self.plans: dict[ModelId, Plan] = {}
        self.servable: set[ModelId] = set()
        self.blocked: set[ModelId] = set()
        self.unjudged: set[ModelId] = set()
        """Blocked models whose case may have changed since the core last tried them."""
        self.stirred = False
        """Something changed that plans under way may depend on."""
        self.moved: list[ModelId] = []
        """Models whose phase changed during the event in hand, in order."""
        self.closing = False
        self.arrivals = 0

    def add_waiter(self, waiter: Waiter) -> None:
        """Queue it."""
        self.waiters[waiter.call] = waiter
        self.models[waiter.model].waiting[waiter.call] = waiter
        if waiter.worker is not None:
            self.calls_by_worker.setdefault(waiter.worker, {})[waiter.call] = None

    def remove_waiter(self, waiter: Waiter) -> None:
        """Take it out of the queue, whatever becomes of it."""
        del self.waiters[waiter.call]
        del self.models[waiter.model].waiting[waiter.call]
        if waiter.worker is not None:
            _discard(self.calls_by_worker, waiter.worker, waiter.call)

    def add_lease(self, lease: Lease) -> None:
        """Count it as outstanding."""
        self.leases[lease.id] = lease
        self.lease_of[lease.call] = lease.id
        self.models[lease.model].leases[lease.id] = lease
        self.leases_by_worker.setdefault(lease.worker, {})[lease.id] = None

    def remove_lease(self, lease: Lease) -> None:
        """It has ended."""
        del self.leases[lease.id]
        del self.lease_of[lease.call]
        del self.models[lease.model].leases[lease.id]
        _discard(self.leases_by_worker, lease.worker, lease.id)

    def stir(self) -> None:
        """Something changed that may let a blocked model start or a plan go on."""
        self.stirred = True
        self.unjudged |= self.blocked

    def refile(self, model: ModelState) -> None:
        """Put a model into the indexes that its phase, leases and waiters call for."""
        if model.phase in RUNNING:
            self.running[model.id] = None
        else:
            self.running.pop(model.id, None)
        if model.phase is Phase.READY and model.waiting and model.free > 0:
            self.servable.add(model.id)
        else:
            self.servable.discard(model.id)
        if model.phase is Phase.STOPPED and model.waiting and not model.retired:
            if model.id not in self.blocked:
                self.blocked.add(model.id)
                self.unjudged.add(model.id)
        else:
            self.blocked.discard(model.id)
            self.unjudged.discard(model.id)

    def standing(self, target: ModelId) -> dict[ModelId, Standing]:
        """Running models and targets of plans, without ``target``, in configuration order."""
        there = [self.models[m] for m in (*self.running, *self.plans) if m != target]
        return {model.id: model.standing() for model in sorted(there, key=lambda model: model.order)}

    def by_age(self, models: set[ModelId]) -> list[ModelId]:
        """Models ordered by their oldest waiting request."""
        return sorted(models, key=self._age)

    def plans_by_age(self) -> Iterator[Plan]:
        """Plans under way, oldest first; safe against plans that end meanwhile."""
        for plan in sorted(self.plans.values(), key=lambda plan: plan.number):
            if self.plans.get(plan.target) is plan:
                yield plan

    def _age(self, model: ModelId) -> int:
        return next(iter(self.models[model].waiting.values())).number


def _discard(index: dict[_K, dict[_V, None]], key: _K, value: _V) -> None:
    held = index.get(key)
    if held is not None:
        held.pop(value, None)
        if not held:
            del index[key]
