"""What fits: each model says what it takes of each device, and the cheapest idle models make room.

``devices`` less ``reserve`` is what there is. A start that fits beside everything running evicts nobody.
Otherwise what is stopping anyway is waited for, and if that is not enough, the movable idle models whose costs
(``evictCost``) sum up least go; among equal sums those whose most recent use is longest ago, then those first
in configuration order. The search is exact for up to ``EXACT`` candidates; with more, candidates are taken in that
order and those that turn out needless are kept. Called by ``core.py``'s parts.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from protocol.ids import ModelId
from supervisor.scheduler.contracts import Blocked, Evict, Models, Never, SettingProblem, Standing, Verdict
from supervisor.scheduler.events import Snapshot
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.settings import suggestion

EXACT = 12
_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


@dataclass(frozen=True, slots=True)
class _Need:
    """One model. ``takes``: bytes per device, in the order of the devices."""

    takes: tuple[int, ...]
    cost: int
    order: int


class Memory:
    """The rule for budgets."""

    name: ClassVar[str] = "memory"

    def __init__(
        self,
        budgets: Mapping[str, int],
        needs: Mapping[ModelId, Mapping[str, int]],
        costs: Mapping[ModelId, int] | None = None,
        pinned: AbstractSet[ModelId] = frozenset(),
    ) -> None:
        """``budgets``: bytes to spend on each device; ``needs``: bytes of each model on each device."""
        self._devices = tuple(budgets)
        self._budget = tuple(budgets.values())
        self._nothing = _Need((0,) * len(self._devices), 1, len(needs))
        self._needs = {
            model: _Need(tuple(need.get(device, 0) for device in self._devices), (costs or {}).get(model, 1), order)
            for order, (model, need) in enumerate(needs.items())
        }
        self._pinned = pinned

    @classmethod
    def parse(cls, settings: Mapping[str, Any], models: Models) -> tuple[Self, list[SettingProblem]]:
        """``devices`` and ``reserve``: bytes by name of device; models say what they take in ``memory``."""
        problems: list[SettingProblem] = []
        devices, reserve = settings.get("devices", {}), settings.get("reserve", {})
        if not devices:
            problems.append(SettingProblem("devices", "expected at least one device, such as 'gpu0: 24GiB'"))
        for device, kept in reserve.items():
            if device not in devices:
                text = f"there is no device {device!r}{suggestion(device, devices)}"
                problems.append(SettingProblem(f"reserve.{device}", text))
            elif kept >= devices[device]:
                text = f"{size(kept)} of {size(devices[device])} leave nothing"
                problems.append(SettingProblem(f"reserve.{device}", text))
        budgets = {device: amount - reserve.get(device, 0) for device, amount in devices.items()}
        rule = cls(
            budgets,
            {model: declared.memory for model, declared in models.items()},
            {model: declared.evict_cost for model, declared in models.items()},
            frozenset(model for model, declared in models.items() if declared.pinned),
        )
        return rule, [*problems, *_unknown_devices(models, devices), *rule.oversized()]

    def oversized(self) -> list[SettingProblem]:
        """A problem for each model and device that could never hold it beside the pinned models."""
        problems = []
        for model, need in self._needs.items():
            others = [other for other in self._needs if other in self._pinned and other != model]
            for index, device in enumerate(self._devices):
                taken = sum(self._needs[other].takes[index] for other in others)
                if need.takes[index] and need.takes[index] + taken > self._budget[index]:
                    text = self._sum(device, index, need, others)
                    problems.append(SettingProblem(f"models.{model}.memory.{device}", text))
        return problems

    def victims(self, target: ModelId, standing: Mapping[ModelId, Standing], *, allow_busy: bool) -> Verdict:
        """The cheapest movable models without which the target fits."""
        need = self._needs.get(target, self._nothing)
        lacking = self._lacking(need, standing)
        if not any(lacking):
            return Evict()
        useful = [model for model in standing if self._helps(model, lacking)]
        stopping = [model for model in useful if _stops(standing[model])]
        left = self._less(lacking, stopping)
        if not any(left):
            return Evict(frozenset(stopping))
        live = [model for model in useful if not _stops(standing[model]) and standing[model].movable]
        free = [model for model in live if allow_busy or not standing[model].busy]
        chosen = self._cheapest(free, left, standing)
        if chosen is not None:
            return Evict(frozenset((*stopping, *chosen)))
        if any(self._less(left, live)):
            return self._held(target, useful, lacking, standing)
        return Blocked(frozenset(model for model in live if standing[model].busy))

    def snapshot(self) -> Snapshot:
        """Nothing to keep."""
        return {}

    def restore(self, snapshot: Snapshot) -> None:
        """Nothing to take over."""

    def _lacking(self, need: _Need, standing: Iterable[ModelId]) -> tuple[int, ...]:
        """Bytes that are missing on each device that it takes something of; what others lack elsewhere is theirs."""
        used = list(need.takes)
        for model in standing:
            for index, amount in enumerate(self._needs.get(model, self._nothing).takes):
                used[index] += amount
        return tuple(
            [
                max(0, amount - budget) if mine else 0
                for mine, amount, budget in zip(need.takes, used, self._budget, strict=True)
            ]
        )

    def _less(self, lacking: tuple[int, ...], models: Iterable[ModelId]) -> tuple[int, ...]:
        for model in models:
            takes = self._needs.get(model, self._nothing).takes
            lacking = tuple([max(0, lack - amount) for lack, amount in zip(lacking, takes, strict=True)])
        return lacking

    def _helps(self, model: ModelId, lacking: tuple[int, ...]) -> bool:
        takes = self._needs.get(model, self._nothing).takes
        return any(amount and lack for amount, lack in zip(takes, lacking, strict=True))

    def _held(
        self, target: ModelId, useful: list[ModelId], lacking: tuple[int, ...], standing: Mapping[ModelId, Standing]
    ) -> Verdict:
        """By whom that cannot go now; never, if the pinned ones alone take too much."""
        loose = [model for model in useful if model not in self._pinned]
        if not any(self._less(lacking, loose)):
            return Blocked(frozenset(model for model in loose if not standing[model].movable))
        pinned = [model for model in self._needs if model in self._pinned and model in useful]
        return Never(f"model {target!r} does not fit beside {', '.join(pinned) or 'what there is'}")

    def _cheapest(
        self, candidates: list[ModelId], lacking: tuple[int, ...], standing: Mapping[ModelId, Standing]
    ) -> Sequence[ModelId] | None:
        """The best of all sets that free what is lacking, or None."""
        candidates.sort(
            key=lambda model: (self._needs[model].cost, standing[model].last_used, self._needs[model].order)
        )
        if any(self._less(lacking, candidates)):
            return None
        if len(candidates) > EXACT:
            return self._greedy(candidates, lacking)
        return _Search(self._needs, candidates, standing).best(lacking)

    def _greedy(self, candidates: list[ModelId], lacking: tuple[int, ...]) -> list[ModelId]:
        taken: list[ModelId] = []
        left = lacking
        for model in candidates:
            if any(left):
                taken.append(model)
                left = self._less(left, [model])
        for model in reversed(taken.copy()):
            without = [other for other in taken if other != model]
            if not any(self._less(lacking, without)):
                taken = without
        return taken

    def _sum(self, device: str, index: int, need: _Need, pinned: Sequence[ModelId]) -> str:
        amounts = [(other, self._needs[other].takes[index]) for other in pinned]
        beside = "".join(f" + {size(amount)} ({other!r}, pinned)" for other, amount in amounts if amount)
        return f"needs {size(need.takes[index])}{beside} of {device}, which has {size(self._budget[index])} to spend"


class _Search:
    """Depth first over the candidates, cheapest first, cut off at the best sum found so far."""

    def __init__(
        self,
        needs: Mapping[ModelId, _Need],
        candidates: Sequence[ModelId],
        standing: Mapping[ModelId, Standing],
    ) -> None:
        self._models = candidates
        self._costs = [needs[model].cost for model in candidates]
        self._takes = [needs[model].takes for model in candidates]
        self._used = [standing[model].last_used for model in candidates]
        self._rest = [(0,) * len(self._takes[0])] if candidates else []
        for takes in reversed(self._takes):
            self._rest.insert(0, tuple([a + b for a, b in zip(takes, self._rest[0], strict=True)]))
        self._best: tuple[int, list[float], list[int]] | None = None

    def best(self, lacking: tuple[int, ...]) -> list[ModelId]:
        """The best set; there is one, as all candidates together free enough."""
        self._visit(0, 0, lacking, [])
        return [self._models[index] for index in self._best[2]] if self._best else []

    def _visit(self, index: int, cost: int, lacking: tuple[int, ...], chosen: list[int]) -> None:
        if not any(lacking):
            recent = sorted((self._used[index] for index in chosen), reverse=True)
            if self._best is None or (cost, recent) < self._best[:2]:
                self._best = (cost, recent, chosen.copy())
            return
        if index == len(self._models) or any(map(_exceeds, lacking, self._rest[index])):
            return
        if self._best is not None and cost + self._costs[index] > self._best[0]:
            return
        takes = self._takes[index]
        if any(map(_both, takes, lacking)):
            left = tuple([lack - amount if lack > amount else 0 for lack, amount in zip(lacking, takes, strict=True)])
            chosen.append(index)
            self._visit(index + 1, cost + self._costs[index], left, chosen)
            chosen.pop()
        self._visit(index + 1, cost, lacking, chosen)


def _exceeds(lack: int, rest: int) -> bool:
    return lack > rest


def _both(amount: int, lack: int) -> bool:
    return bool(amount and lack)


def _stops(entry: Standing) -> bool:
    return entry.phase is Phase.STOPPING


def _unknown_devices(models: Models, devices: Mapping[str, int]) -> list[SettingProblem]:
    return [
        SettingProblem(f"models.{model}.memory.{device}", f"there is no device {device!r}{suggestion(device, devices)}")
        for model, declared in models.items()
        for device in declared.memory
        if device not in devices
    ]


def size(amount: int) -> str:
    """Bytes for people."""
    for unit, worth in _UNITS:
        if amount >= worth:
            return f"{amount / worth:.4g} {unit}"
    return f"{amount} B"
