"""Models that look busy and may be idle: what a worker keeps for its next request, only the worker knows.

Who must go shall not depend on that. So before a model like that is passed over, its leases are asked back, and
the decision waits for the answer, ``ANSWER_WITHIN`` seconds at most: a worker answers for idle ones at once.
Called by ``room.py``.
"""

from collections.abc import Iterable
from dataclasses import replace

from protocol.ids import ModelId
from supervisor.scheduler.contracts import Evict
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.residence import Residence
from supervisor.scheduler.state import NEVER, ModelState
from supervisor.scheduler.steps import Steps
from supervisor.scheduler.timers import Timer

ANSWER_WITHIN = 0.05


class Parked:
    """On the board that ``steps`` changes. Times in seconds of the core's clock."""

    def __init__(self, steps: Steps, residence: Residence) -> None:
        self._steps = steps
        self._board = steps.board
        self._residence = residence

    def in_the_way(self, target: ModelId) -> frozenset[ModelId]:
        """Whom the eviction rule would like to see go, if what may be idle were idle."""
        standing = self._residence.standing(target)
        perhaps = frozenset(name for name in standing if self._perhaps_idle(self._board.models[name]))
        if not perhaps:
            return perhaps
        hoped = {name: replace(entry, busy=False) if name in perhaps else entry for name, entry in standing.items()}
        verdict = self._board.rules.eviction.victims(target, hoped, allow_busy=False)
        return verdict.victims & perhaps if isinstance(verdict, Evict) else frozenset()

    def watch(self, names: Iterable[ModelId]) -> None:
        """Look again when these have had the time to answer; one timer for each model."""
        for name in sorted(names, key=lambda name: self._board.models[name].order):
            model = self._board.models[name]
            until = model.parking.asked + ANSWER_WITHIN
            if until < model.answer_timer:
                model.answer_timer = until
                self._steps.timers.set(until, Timer.ANSWER, name)

    def answer_due(self, model: ModelState) -> None:
        """Whatever has not come back is in use."""
        model.answer_timer = NEVER
        self._board.stir()

    def _perhaps_idle(self, model: ModelState) -> bool:
        parking = model.parking
        if model.phase is not Phase.READY or not model.leases or parking.spare < len(model.leases):
            return False
        return bool(parking.reusable) or self._steps.now < parking.asked + ANSWER_WITHIN
