"""The board: all models, requests, leases and plans, and the indexes over them.

Book-keeping only; nothing here decides and nothing emits effects. ``steps.py`` changes it, the core and its
parts read it. Indexes that answer "who could go on" are kept up to date by ``refile``, so that an event
costs the same however many requests wait for other models.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, TypeVar

from protocol.ids import CallId, LeaseId, ModelId, WorkerId
from supervisor.scheduler.phases import RUNNING, Phase
from supervisor.scheduler.state import Lease, ModelState, Plan, Rules, StandingClaim, Waiter

_K = TypeVar("_K")
_Inner = TypeVar("_Inner", bound=dict[Any, Any])


class Board:
    """All of it. Iteration over models is in configuration order."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.models: dict[ModelId, ModelState] = {
            model: ModelState(model, rule, order) for order, (model, rule) in enumerate(rules.models.items())
        }
        self.waiters: OrderedDict[CallId, Waiter] = OrderedDict()
        self.leases: dict[LeaseId, Lease] = {}
        self.lease_of: dict[CallId, LeaseId] = {}
        self.calls_by_worker: dict[WorkerId, dict[CallId, None]] = {}
        self.leases_by_worker: dict[WorkerId, dict[LeaseId, None]] = {}
        self.running: dict[ModelId, None] = {}
        self.plans: dict[ModelId, Plan] = {}
        self.claim: StandingClaim | None = None
        self.servable: set[ModelId] = set()
        self.blocked: set[ModelId] = set()
        self.unjudged: set[ModelId] = set()
        """Blocked models whose case may have changed since the core last tried them."""
        self._by_age: list[tuple[int, ModelId]] = []
        """A heap of blocked models by their oldest request; entries that are out of date are skipped."""
        self.stirred = False
        """Something changed that plans under way may depend on."""
        self.moved: list[ModelId] = []
        """Models whose phase changed during the event in hand, in order."""
        self.asked_again: float | None = None
        """When the policy wants to be asked again, if nothing happens before."""
        self.closing = False
        self.arrivals = 0

    def add_waiter(self, waiter: Waiter) -> None:
        """Queue it."""
        self.waiters[waiter.call] = waiter
        model = self.models[waiter.model]
        model.waiting[waiter.call] = waiter
        if waiter.worker is None:
            model.loads[waiter.call] = waiter
        else:
            model.callers.setdefault(waiter.caller, OrderedDict())[waiter.call] = waiter
            self.calls_by_worker.setdefault(waiter.worker, {})[waiter.call] = None

    def remove_waiter(self, waiter: Waiter) -> None:
        """Take it out of the queue, whatever becomes of it."""
        del self.waiters[waiter.call]
        model = self.models[waiter.model]
        del model.waiting[waiter.call]
        if waiter.worker is None:
            del model.loads[waiter.call]
        else:
            _discard(model.callers, waiter.caller, waiter.call)
            _discard(self.calls_by_worker, waiter.worker, waiter.call)

    def add_lease(self, lease: Lease) -> None:
        """Count it as outstanding."""
        model = self.models[lease.model]
        self.leases[lease.id] = lease
        self.lease_of[lease.call] = lease.id
        model.leases[lease.id] = lease
        if lease.parkable:
            model.parking.add(lease.worker)
        self.leases_by_worker.setdefault(lease.worker, {})[lease.id] = None

    def remove_lease(self, lease: Lease) -> None:
        """It has ended."""
        del self.leases[lease.id]
        del self.lease_of[lease.call]
        model = self.models[lease.model]
        del model.leases[lease.id]
        if lease.parkable:
            model.parking.remove(lease.worker)
        _discard(self.leases_by_worker, lease.worker, lease.id)

    def stir(self, idle: ModelId | None = None) -> None:
        """Something changed that may let a blocked model start or a plan go on.

        ``idle``: no more than that this one became idle, which matters to those that it blocked.
        """
        self.stirred = True
        if idle is None:
            self.unjudged |= self.blocked
        else:
            self.unjudged |= {name for name in self.blocked if self._waits_for(self.models[name], idle)}

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
                self._note_age(model.id)
        else:
            self.blocked.discard(model.id)
            self.unjudged.discard(model.id)

    def oldest_blocked(self) -> Waiter | None:
        """The oldest request of all blocked models, in constant time on average."""
        heap = self._by_age
        while heap:
            number, name = heap[0]
            if name not in self.blocked:
                heapq.heappop(heap)
                continue
            first = self._first(name)
            if first.number == number:
                return first
            heapq.heapreplace(heap, (first.number, name))
        return None

    def beside(self, target: ModelId) -> list[ModelState]:
        """Running models and targets of plans, without ``target``, in configuration order."""
        models = self.models
        there = [models[m] for m in (*self.running, *self.plans) if m != target]
        there.sort(key=_order)
        return there

    def by_age(self, models: set[ModelId]) -> list[ModelId]:
        """Models ordered by their oldest waiting request."""
        return sorted(models, key=self._age)

    def plans_by_age(self) -> Iterator[Plan]:
        """Plans under way, oldest first; safe against plans that end meanwhile."""
        for plan in sorted(self.plans.values(), key=lambda plan: plan.number):
            if self.plans.get(plan.target) is plan:
                yield plan

    @staticmethod
    def _waits_for(model: ModelState, other: ModelId) -> bool:
        return not model.blocked_by or other in model.blocked_by

    def _note_age(self, model: ModelId) -> None:
        if len(self._by_age) > 4 * len(self.models):
            self._by_age = [(self._age(name), name) for name in self.blocked]
            heapq.heapify(self._by_age)
        else:
            heapq.heappush(self._by_age, (self._age(model), model))

    def _age(self, model: ModelId) -> int:
        return self._first(model).number

    def _first(self, model: ModelId) -> Waiter:
        return next(iter(self.models[model].waiting.values()))


def _discard(index: dict[_K, _Inner], key: _K, value: Any) -> None:
    del index[key][value]
    if not index[key]:
        del index[key]


def _order(model: ModelState) -> int:
    return model.order
