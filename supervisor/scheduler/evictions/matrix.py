"""Sets of models that may run together (``tests/compat/config.md`` §11.3).

Among all combinations with the target in them, the one whose missing running models cost least decides; of
equal ones that with the fewest missing that are stopping anyway, then the first written. A model in no set runs
alone. Whether a victim is busy has no part in the choice, only in whether it may happen now; one that cannot go
at all is avoided if any combination allows it. The sets are compiled by ``config/sets.py`` and reach this file
as a ``Program``. Called by ``core.py``'s parts.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from protocol.ids import ModelId
from supervisor.scheduler.contracts import Blocked, Evict, Models, SettingProblem, Standing, Verdict
from supervisor.scheduler.events import Snapshot
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.settings import suggestion


@runtime_checkable
class Program(Protocol):
    """Compiled sets. Immutable, and bounded in what one answer takes."""

    def keep(self, target: str, costs: Mapping[str, int]) -> frozenset[str] | None:
        """Of the running models in ``costs``, those that stay when the others cost least; None: in no set."""
        ...


class Matrix:
    """The rule for sets."""

    name: ClassVar[str] = "matrix"

    def __init__(self, program: Program, costs: Mapping[ModelId, int] | None = None) -> None:
        """``costs``: what it costs to evict a model, 1 if it is missing."""
        self._program = program
        self._costs = dict(costs or {})

    @classmethod
    def parse(cls, settings: Mapping[str, Any], models: Models) -> tuple[Self, list[SettingProblem]]:
        """``program``: compiled sets; ``evict_costs``: whole numbers of 1 or more by model id."""
        problems: list[SettingProblem] = []
        program = settings.get("program")
        if not isinstance(program, Program):
            problems.append(SettingProblem("sets", "a matrix needs at least one set"))
            program = _NoSets()
        costs: dict[ModelId, int] = {}
        for name, cost in settings.get("evict_costs", {}).items():
            model = ModelId(name)
            if model not in models:
                text = f"there is no model {name!r}{suggestion(name, models)}"
                problems.append(SettingProblem(f"evict_costs.{name}", text))
            elif not isinstance(cost, int) or cost < 1:
                problems.append(SettingProblem(f"evict_costs.{name}", f"found {cost!r}, expected 1 or more"))
            else:
                costs[model] = cost
        return cls(program, costs), problems

    def victims(self, target: ModelId, standing: Mapping[ModelId, Standing], *, allow_busy: bool) -> Verdict:
        """Every running model outside the cheapest combination."""
        kept = self._program.keep(target, self._weights(standing)) or frozenset()
        victims = frozenset(model for model in standing if model not in kept)
        held = frozenset(model for model in victims if not standing[model].movable)
        busy = frozenset() if allow_busy else frozenset(model for model in victims if _busy(standing[model]))
        by = held or busy
        return Blocked(by) if by else Evict(victims)

    def snapshot(self) -> Snapshot:
        """Nothing to keep."""
        return {}

    def restore(self, snapshot: Snapshot) -> None:
        """Nothing to take over."""

    def _weights(self, standing: Mapping[ModelId, Standing]) -> dict[str, int]:
        """What each is worth: one that cannot go, more than all others; one that stops anyway, next to nothing."""
        each = len(standing) + 1
        weights: dict[str, int] = {
            model: 1 if entry.phase is Phase.STOPPING else each * self._costs.get(model, 1)
            for model, entry in standing.items()
        }
        unthinkable = sum(weights.values()) + 1
        return {model: weight if standing[ModelId(model)].movable else unthinkable for model, weight in weights.items()}


class _NoSets:
    """Stands in when there are none."""

    def keep(self, target: str, costs: Mapping[str, int]) -> frozenset[str] | None:
        del target, costs
        return None


def _busy(entry: Standing) -> bool:
    return entry.busy and entry.phase is not Phase.STOPPING
