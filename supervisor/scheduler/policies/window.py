"""Batches of a model sized by what swaps cost, a hard maximum wait, and fair shares among callers.

Requests of ready models are served at once, in the order of their callers' shares (``fair.py``). A model that
nobody wants any more gives way at once. One that is wanted keeps its room for a *batch*, some multiples of what it
costs to swap it, once a model in its way has waited ``maxWait`` since it was last served; then that one claims. Which
one: the one that was served longest ago, and every other time the one whose caller has had the least. ``design.md``,
*The policy window*, derives what follows from that. Called by ``core.py`` (``contracts.Policy``) and by
``accounts.py`` (``contracts.Accounting``).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from protocol.ids import CallId, LeaseId, ModelId
from supervisor.scheduler.contracts import (
    Choice,
    Claim,
    MakeWay,
    Models,
    Nothing,
    Queue,
    Serve,
    SettingProblem,
    Swap,
    Waiting,
)
from supervisor.scheduler.events import Event, Snapshot
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.policies.fair import Shares
from supervisor.scheduler.policies.lanes import Lanes
from supervisor.scheduler.policies.swaps import Costs
from supervisor.scheduler.settings import names_of, positive, priorities, seconds, times, unknown, weights

LONGEST = 2.0
"""A batch may last so many times longer for what is nearly done, or behind in its share."""
LOOKS = 8.0
"""How often a longer batch is looked at again, in the time of one."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What stands under ``routing.scheduler.settings.window``. Times in seconds."""

    max_wait: float = 15.0
    """So long after it was last served a model that somebody waits for claims room."""
    batch: float = 4.0
    """How long a model keeps its room against that, from the decision to start it, in times of what a swap costs."""
    min_resident: float = 0.0
    ageing: float = 10.0
    """What a step of priority counts, as time waited."""
    priority: Mapping[ModelId, int] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    """Shares of callers; 1 for those that are missing."""

    @property
    def longest(self) -> float:
        """A batch at the longest, in times of one: enough for what the weights ask for."""
        everybody = (1.0, *self.weights.values())
        return LONGEST * max(everybody) / min(everybody)


class Window:
    """One instance for the life of its settings; ``contracts.Policy`` and ``contracts.Accounting``."""

    name: ClassVar[str] = "window"
    parks: ClassVar[bool] = False

    def __init__(self, settings: Settings | None = None, models: Collection[ModelId] = ()) -> None:
        """``models``: those that there are; of others nothing is taken over. None named: of all."""
        self.settings = settings or Settings()
        self._models = frozenset(models)
        self._shares = Shares(self.settings.weights)
        self._lanes = Lanes(self._shares.tag)
        self._costs = Costs()
        self._served: dict[ModelId, float] = {}
        """When each model got its last lease."""
        self._charged: dict[LeaseId, tuple[ModelId, str, float]] = {}
        """Model, caller, and seconds by estimate."""
        self._now = 0.0
        self._claims = 0
        self._ripe_since: float | None = None
        """Since when somebody could have claimed."""
        self._look_at = 0.0
        """Before this nobody has to claim, unless the core offers something to try."""

    @classmethod
    def parse(cls, settings: Mapping[str, Any], models: Models) -> tuple[Self, list[SettingProblem]]:
        """Every key, with what is wrong about it."""
        default = Settings()
        problems = unknown(settings, ("maxWait", "batch", "minResident", "ageing", "priority", "weights"))
        found = Settings(
            max_wait=positive(settings, "maxWait", default.max_wait, "seconds", problems),
            batch=times(settings, "batch", default.batch, "a swap", problems),
            min_resident=seconds(settings, "minResident", default.min_resident, problems),
            ageing=seconds(settings, "ageing", default.ageing, problems),
            priority=priorities(settings, "priority", names_of(models), problems),
            weights=weights(settings, "weights", problems),
        )
        return cls(found, models), problems

    @property
    def min_resident(self) -> float:
        """Seconds after ready in which even an idle model keeps its room."""
        return self.settings.min_resident

    def choose(self, queue: Queue, now: float) -> Choice:
        """Serve what is ready, then make way for the one whose turn it is, then claim for it."""
        for model in queue.servable():
            return Serve(model, queue.free(model))
        blocked = queue.blocked()
        if blocked:
            self._look_at = 0.0
            return MakeWay(self._next(queue, blocked))
        if queue.claimable() is None:
            return Nothing()
        if now < self._look_at:
            return Nothing(until=self._look_at)
        return self._claim(queue, now)

    def _claim(self, queue: Queue, now: float) -> Choice:
        waited = {model: self._since(queue, model) for model in queue.all_blocked()}
        ripe = min(waited.values()) + self.settings.max_wait
        if ripe > now:
            self._ripe_since, self._look_at = None, ripe
            return Nothing(until=ripe)
        if self._ripe_since is None:
            self._ripe_since = now
        head = self._next(queue, [model for model, since in waited.items() if since + self.settings.max_wait <= now])
        self._look_at = self._held(queue, head, now, self._ripe_since)
        if self._look_at > now:
            return Nothing(until=self._look_at)
        self._claims += 1
        self._ripe_since, self._look_at = None, 0.0
        return Claim(head)

    def _since(self, queue: Queue, model: ModelId) -> float:
        """Since when a model waits: its oldest request, or its last lease; a priority counts as time waited."""
        oldest = queue.oldest(model)
        arrived = oldest.arrived if oldest is not None else 0.0
        return (
            max(arrived, self._served.get(model, arrived)) - self.settings.priority.get(model, 0) * self.settings.ageing
        )

    def _next(self, queue: Queue, models: Iterable[ModelId]) -> ModelId:
        """Whose turn it is: who has waited longest; after every other claim, whose caller is behind in his share."""
        turns = sorted((self._since(queue, model), self._number(queue, model), model) for model in models)
        longest = turns[0][2]
        if self._claims % 2 == 0 or len(self._shares.accounts) < 2:
            return longest
        tags = [(self._tag(queue, model), number, model) for _, number, model in turns]
        least = min(tags)
        return least[2] if least[0] + self._tolerance() < self._tag(queue, longest) else longest

    def _held(self, queue: Queue, target: ModelId, now: float, ripe_since: float) -> float:
        """Until when those in the way keep their room against ``target``; ``now``: no longer."""
        since = self._since(queue, target)
        if any(self._since(queue, model) <= since for model in queue.making_room()):
            # A plan of one that has waited longer is not given up for this claim: once it has served, it is behind.
            return now + self._costs.any_swap.mean
        until = limit = now
        for model in queue.in_the_way(target):
            swap = self._costs.swap(model, target)
            batch = (self.settings.batch - 1.0) * swap
            longest = self.settings.longest * max(batch, self.settings.max_wait)
            limit = max(limit, ripe_since + swap + longest)
            phase, ready = queue.phase(model), queue.ready_at(model)
            if phase in (Phase.STARTING, Phase.MAKING_ROOM):
                until = limit
            elif phase is Phase.READY and ready is not None:
                if now < ready + batch:
                    until = max(until, ready + batch)
                elif self._is_worth_it(queue, model, target, now, ready + longest - now):
                    until = max(until, now + longest / LOOKS)
        return min(until, limit)

    def _is_worth_it(self, queue: Queue, model: ModelId, target: ModelId, now: float, left: float) -> bool:
        """May ``model`` serve on, for ``left`` seconds at most? Its callers are behind in their shares.

        Or it will be done by then, and the worst wait would be longer if it had to come back for the rest.
        """
        mine, oldest = self._lanes.first(queue, model), queue.oldest(model)
        if mine is None or oldest is None or left <= 0.0:
            return False
        lead = self._shares.tag(mine.caller) - self._tag(queue, target)
        if lead < -self._tolerance():
            return True
        work = self._work(queue, model)
        if lead > 0.0 or work > left:
            return False
        goes_on = now - self._since(queue, target) + work
        comes_back = now - oldest.arrived + self._costs.swap(target, model) + self._work(queue, target)
        return goes_on <= comes_back

    def _work(self, queue: Queue, model: ModelId) -> float:
        """Seconds that the waiting requests of a model take it."""
        return queue.count(model) * self._costs.service(model) / queue.limit(model)

    def _tag(self, queue: Queue, model: ModelId) -> float:
        """Where that caller of a model stands who is next."""
        first = self._lanes.first(queue, model)
        return self._shares.tag(first.caller) if first is not None else self._shares.now

    def _number(self, queue: Queue, model: ModelId) -> int:
        oldest = queue.oldest(model)
        return oldest.number if oldest is not None else 0

    def _tolerance(self) -> float:
        """Virtual seconds that make no difference between two models: half a batch."""
        return (self.settings.batch - 1.0) * self._costs.any_swap.mean / 2.0

    # What the core tells

    def pick(self, queue: Queue, model: ModelId) -> CallId:
        """The oldest request of the caller who has had the least."""
        first = self._lanes.first(queue, model)
        return first.call if first is not None else CallId("")

    def arrived(self, request: Waiting) -> None:
        """Count it; it may be the first of its caller."""
        self._shares.arrived(request.caller)
        self._lanes.arrived(request)

    def left(self, request: Waiting) -> None:
        """It costs nothing."""
        self._shares.left(request.caller)

    def granted(self, request: Waiting, lease: LeaseId) -> None:
        """Charge what a lease of this model takes on average."""
        estimate = self._costs.service(request.model)
        self._shares.granted(request.caller, estimate)
        self._charged[lease] = (request.model, request.caller, estimate)
        self._served[request.model] = self._now

    def ended(self, lease: LeaseId, seconds: float) -> None:
        """Charge the difference."""
        charged = self._charged.pop(lease, None)
        if charged is None:
            return
        model, caller, estimate = charged
        self._costs.served(model, seconds)
        self._shares.ended(caller, seconds, estimate)
        if seconds < estimate:
            self._lanes.lowered(caller)

    def swapped(self, swap: Swap) -> None:
        """Learn what it took."""
        self._costs.swapped(swap)

    def observe(self, event: Event, now: float) -> None:
        """What it is about is told otherwise; the time is that of the leases that follow."""
        del event
        self._now = now

    def snapshot(self) -> Snapshot:
        """Shares, what was learned, and the turn."""
        return {
            "shares": self._shares.snapshot(),
            "costs": self._costs.snapshot(),
            "served": dict(self._served),
            "charged": {lease: list(charge) for lease, charge in self._charged.items()},
            "claims": self._claims,
            "ripe_since": self._ripe_since,
            "look_at": self._look_at,
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Take over what ``snapshot`` returned."""
        self._lanes.forget()
        self._shares.restore(snapshot["shares"])
        self._costs.restore(snapshot["costs"])
        self._served = dict(snapshot["served"])
        if self._models:
            self._costs.keep(self._models)
            self._served = {model: when for model, when in self._served.items() if model in self._models}
        self._charged = {lease: (charge[0], charge[1], charge[2]) for lease, charge in snapshot["charged"].items()}
        self._claims, self._ripe_since = snapshot["claims"], snapshot["ripe_since"]
        self._look_at = snapshot["look_at"]
