"""How long a running model keeps its room: what an eviction rule is told of who may go.

An idle model gives way at once, unless the policy's ``min_resident`` holds it. Against a claim a busy one is
safe until it has been ready as long as its last swap took (or ``min_resident``, if that is longer), and until
everybody who waited when it became ready has been served, up to its limit. Asked by ``room.py`` and
``claims.py``; changes nothing but timers.
"""

from protocol.ids import ModelId
from supervisor.scheduler.contracts import Policy, Standing
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.state import NEVER, ModelState
from supervisor.scheduler.steps import Steps
from supervisor.scheduler.timers import Timer


class Residence:
    """Times in seconds of the core's clock."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._board = steps.board

    def standing(self, target: ModelId, *, claimed: bool = False) -> dict[ModelId, Standing]:
        """Who stands beside ``target``. ``claimed``: for a claim, which busy models withstand for a while."""
        now = self._steps.now
        return {
            model.id: model.standing(movable=self._until(model, claimed=claimed) <= now)
            for model in self._board.beside(target)
        }

    def watch(self, target: ModelId, *, claimed: bool) -> None:
        """Look again when the time of anybody beside ``target`` is over; one timer for each model."""
        for model in self._board.beside(target):
            until = self._until(model, claimed=claimed)
            if self._steps.now < until < NEVER and until < model.residence_timer:
                model.residence_timer = until
                self._steps.timers.set(until, Timer.RESIDENCE, model.id)

    def over(self, model: ModelState) -> None:
        """Its time is over: who waits for its room may be tried again."""
        model.residence_timer = NEVER
        self._board.stir()

    def _until(self, model: ModelState, *, claimed: bool) -> float:
        return resident_until(model, self._board.rules.policy, claimed=claimed)


def resident_until(model: ModelState, policy: Policy, *, claimed: bool) -> float:
    """When a model may be a victim, of a claim if ``claimed``; ``NEVER``: when something happens to it first."""
    if claimed and (model.owed or (model.phase is Phase.STARTING and model.waiting)):
        return NEVER
    if model.phase is not Phase.READY or model.ready_at is None:
        return 0.0
    shortest = policy.min_resident
    if claimed and model.busy:
        shortest = max(shortest, model.last_swap_time)
    return model.ready_at + shortest
