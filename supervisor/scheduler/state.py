"""What the scheduler knows of one thing: a model, a waiting request, a lease, a plan, the claim.

Data only; nothing here decides. ``board.py`` holds all of it together, ``steps.py`` changes it.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from protocol.ids import CallId, LeaseId, ModelId, WorkerId
from supervisor.scheduler.backoff import FailureAccount
from supervisor.scheduler.contracts import Accounting, Eviction, Policy, Standing
from supervisor.scheduler.estimates import Learned
from supervisor.scheduler.phases import Phase

NEVER = float("inf")


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
    """One configuration, as the scheduler needs it. The order of ``models`` breaks ties.

    ``parking``: workers may keep finished leases for the next request.
    """

    models: Mapping[ModelId, ModelRule]
    policy: Policy
    eviction: Eviction
    parking: bool = False
    accounting: Accounting | None = field(init=False, compare=False)
    """The policy, if it keeps accounts of callers."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "accounting", self.policy if isinstance(self.policy, Accounting) else None)


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
    beyond: bool = False
    """Admitted beyond the limits because a parked lease was recalled for it."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Permission for one exchange with one generation, held by one worker."""

    id: LeaseId
    call: CallId
    model: ModelId
    generation: int
    worker: WorkerId
    granted: float
    parkable: bool = False


@dataclass(slots=True)
class Plan:
    """A start that waits for its victims. ``victims``: all it ever had, also those that have exited."""

    target: ModelId
    number: int
    victims: set[ModelId] = field(default_factory=set)


@dataclass(slots=True)
class StandingClaim:
    """Room reserved for a blocked model. ``draining``: what drains for it now; empty while residence holds it."""

    target: ModelId
    made: float
    draining: set[ModelId] = field(default_factory=set)


@dataclass(slots=True)
class Parking:
    """Parkable leases of one model. ``reusable``: how many each worker may still use again."""

    held: dict[WorkerId, int] = field(default_factory=dict)
    reusable: dict[WorkerId, int] = field(default_factory=dict)
    recalled: int = 0
    """Asked back and not ended yet."""
    asked: float = 0.0
    """When some were asked back for the last time."""

    def add(self, worker: WorkerId) -> None:
        """A parkable lease was granted."""
        self.held[worker] = self.held.get(worker, 0) + 1
        self.reusable[worker] = self.reusable.get(worker, 0) + 1

    def remove(self, worker: WorkerId) -> None:
        """One has ended: one that was asked back, if there is any; else the worker had no more use for it."""
        self.recalled = max(0, self.recalled - 1)
        self.held[worker] -= 1
        left = min(self.held[worker], self.reusable.get(worker, 0))
        _keep(self.held, worker, self.held[worker])
        _keep(self.reusable, worker, left)

    @property
    def spare(self) -> int:
        """Leases that may be idle, asked back or not."""
        return sum(self.reusable.values()) + self.recalled


@dataclass(slots=True)
class ModelState:
    """One configured model. ``generation`` 0: never started."""

    id: ModelId
    rule: ModelRule
    order: int
    phase: Phase = Phase.STOPPED
    generation: int = 0
    leases: dict[LeaseId, Lease] = field(default_factory=dict)
    waiting: OrderedDict[CallId, Waiter] = field(default_factory=OrderedDict)
    """In arrival order; ordered dictionaries find their first entry at once however many were removed."""
    callers: dict[str, OrderedDict[CallId, Waiter]] = field(default_factory=dict)
    """The same, by caller, but for those that want no lease."""
    loads: dict[CallId, Waiter] = field(default_factory=dict)
    """Those: they are answered when it is ready (``LoadAsked``)."""
    plan: Plan | None = None
    displaced: frozenset[ModelId] = frozenset()
    """What exited for its last start."""
    parking: Parking = field(default_factory=Parking)
    owed: dict[CallId, None] = field(default_factory=dict)
    """Who waited when it became ready, up to its limit: they are served before it is claimed."""
    failures: FailureAccount = field(default_factory=FailureAccount)
    last_used: float = 0.0
    ready_at: float | None = None
    wanted_at: float = 0.0
    """When its last start was decided; with ``ready_at``: how long a swap takes."""
    last_swap_time: float = 0.0
    service: Learned = field(default_factory=Learned)
    """Seconds of one exchange."""
    swap: Learned = field(default_factory=Learned)
    """Seconds from the decision to start it to ready."""
    starts: int = 0
    swaps: int = 0
    stuck_pid: int | None = None
    stop_asked: bool = False
    ordered: bool = False
    """An order drains it: it will not serve again in this generation."""
    retired: bool = False
    """Removed by a reload; forgotten as soon as it has stopped."""
    blocked_by: frozenset[ModelId] = frozenset()
    """Who was in the way when it was last tried."""
    ttl_timer: float = NEVER
    residence_timer: float = NEVER
    answer_timer: float = NEVER
    deadline_timer: float = NEVER
    """The earliest entry in the heap for its queue. It stays there when its waiter goes, and is used again."""

    @property
    def busy(self) -> bool:
        """Has leases, or is on its way to requests that wait for it.

        Requests that a policy lets wait although the model is ready do not hold it.
        """
        return bool(self.leases) or (bool(self.waiting) and self.phase in (Phase.MAKING_ROOM, Phase.STARTING))

    @property
    def free(self) -> int:
        """Leases that the limit leaves."""
        return self.rule.limit - len(self.leases)

    def standing(self, *, movable: bool) -> Standing:
        """As an eviction rule sees it; a stuck or pinned model is never movable."""
        movable = movable and self.phase is not Phase.STUCK and not self.rule.pinned
        return Standing(self.phase, self.busy, self.last_used, movable)


def _keep(counts: dict[WorkerId, int], worker: WorkerId, count: int) -> None:
    if count:
        counts[worker] = count
    else:
        counts.pop(worker, None)
