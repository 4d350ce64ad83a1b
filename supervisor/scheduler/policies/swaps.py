"""What swaps and exchanges cost, learned as moving averages: by target, and from one model to another.

Seconds from the decision to start a model to ready, so the stop of what had to go is in it. Used by ``window.py``.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from protocol.ids import ModelId
from supervisor.scheduler.contracts import Swap
from supervisor.scheduler.estimates import UNKNOWN_SERVICE, Learned
from supervisor.scheduler.events import Snapshot

MOST_PAIRS = 4096
"""Pairs of models that are kept; beyond, the one that was learned first is forgotten."""


@dataclass(slots=True)
class Costs:
    """Of all models. A swap of which nothing is known costs what others cost; nothing, before the first."""

    swaps: dict[ModelId, Learned] = field(default_factory=dict)
    pairs: dict[tuple[ModelId, ModelId], Learned] = field(default_factory=dict)
    services: dict[ModelId, Learned] = field(default_factory=dict)
    any_swap: Learned = field(default_factory=Learned)

    def swapped(self, swap: Swap) -> None:
        """A start has succeeded."""
        self.any_swap.learn(swap.seconds)
        self.swaps.setdefault(swap.model, Learned()).learn(swap.seconds)
        if len(swap.gone) == 1:
            (gone,) = swap.gone
            self.pairs.setdefault((gone, swap.model), Learned()).learn(swap.seconds)
            if len(self.pairs) > MOST_PAIRS:
                del self.pairs[next(iter(self.pairs))]

    def served(self, model: ModelId, seconds: float) -> None:
        """A lease has ended."""
        self.services.setdefault(model, Learned()).learn(seconds)

    def swap(self, gone: ModelId, model: ModelId) -> float:
        """Seconds to have ``model`` in place of ``gone``."""
        pair = self.pairs.get((gone, model))
        if pair is not None:
            return pair.mean
        known = self.swaps.get(model)
        return known.mean if known is not None else self.any_swap.mean

    def service(self, model: ModelId) -> float:
        """Seconds of one lease."""
        known = self.services.get(model)
        return known.mean if known is not None else UNKNOWN_SERVICE

    def keep(self, models: frozenset[ModelId]) -> None:
        """Forget what there is no more."""
        self.swaps = {model: learned for model, learned in self.swaps.items() if model in models}
        self.pairs = {pair: learned for pair, learned in self.pairs.items() if models.issuperset(pair)}
        self.services = {model: learned for model, learned in self.services.items() if model in models}

    def snapshot(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "any": asdict(self.any_swap),
            "swaps": {model: asdict(learned) for model, learned in self.swaps.items()},
            "pairs": [[*pair, asdict(learned)] for pair, learned in self.pairs.items()],
            "services": {model: asdict(learned) for model, learned in self.services.items()},
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Take over what ``snapshot`` returned."""
        self.any_swap = Learned(**snapshot["any"])
        self.swaps = {ModelId(model): Learned(**saved) for model, saved in snapshot["swaps"].items()}
        self.pairs = {(ModelId(gone), ModelId(model)): Learned(**saved) for gone, model, saved in snapshot["pairs"]}
        self.services = {ModelId(model): Learned(**saved) for model, saved in snapshot["services"].items()}
