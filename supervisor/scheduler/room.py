"""Making room: which start may go on now, which must wait, which is given up.

Asks the eviction rule *who must go*; never stops a busy model, and never lets two plans share a victim or
take each other's target. Victims are computed afresh whenever something changed. Called by ``core.py`` after
each event (``review``) and for each ``MakeWay`` of the policy (``make_way``).
"""

from protocol.ids import ModelId, Refusal
from supervisor.scheduler.contracts import Blocked, Evict, Never, Standing
from supervisor.scheduler.effects import StopReason
from supervisor.scheduler.phases import Phase, PlanGivenUp, RoomNeeded
from supervisor.scheduler.state import ModelState, Plan
from supervisor.scheduler.steps import Steps


class Room:
    """Plans under way, on the board that ``steps`` changes."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._board = steps.board
        self._plans = 0

    def make_way(self, model: ModelState) -> None:
        """Start a stopped model, at once or after its victims; without room it stays where it is."""
        self._board.unjudged.discard(model.id)
        match self._verdict(model):
            case Never(reason):
                self._steps.refuse_all(model, Refusal.IMPOSSIBLE, reason)
            case Blocked(by):
                self._refuse_if_stuck(model, by)
            case Evict(victims) if not self._conflicts(model.id, victims):
                model.wanted_at = self._steps.now
                self._begin(model, victims)

    def review(self) -> None:
        """Bring every plan up to date, oldest first."""
        while self._board.stirred:
            self._board.stirred = False
            for plan in self._board.plans_by_age():
                self._review(plan)

    def give_up(self, model: ModelState, why: str) -> None:
        """End a plan; its target's requests keep their places, its victims finish stopping."""
        del self._board.plans[model.id]
        model.plan = None
        self._steps.move(model, PlanGivenUp)
        self._steps.note(f"{model.id}: plan given up: {why}")

    def _begin(self, model: ModelState, victims: frozenset[ModelId]) -> None:
        if not victims:
            self._steps.note(f"{model.id}: starting")
            self._steps.start(model)
            return
        self._plans += 1
        plan = Plan(model.id, self._plans)
        model.plan = plan
        model.swaps += 1
        self._board.plans[model.id] = plan
        self._steps.move(model, RoomNeeded)
        self._take(plan, victims)

    def _review(self, plan: Plan) -> None:
        model = self._board.models[plan.target]
        if not model.waiting:
            self.give_up(model, "nobody waits for it any more")
            return
        match self._verdict(model):
            case Never(reason):
                self.give_up(model, reason)
                self._steps.refuse_all(model, Refusal.IMPOSSIBLE, reason)
            case Blocked(by):
                self.give_up(model, f"{_names(by)} cannot go now")
                self._refuse_if_stuck(model, by)
            case Evict(victims) if self._conflicts(model.id, victims):
                self.give_up(model, "another plan needs the same room")
            case Evict(victims) if victims:
                self._take(plan, victims)
            case Evict():
                del self._board.plans[model.id]
                model.plan = None
                self._steps.start(model)

    def _take(self, plan: Plan, victims: frozenset[ModelId]) -> None:
        for name in sorted(victims, key=lambda name: self._board.models[name].order):
            victim = self._board.models[name]
            plan.victims.add(name)
            if victim.phase is not Phase.STOPPING:
                reason = StopReason.ABORTED if victim.phase is Phase.STARTING else StopReason.EVICTED
                self._steps.note(f"{plan.target}: needs the room of {name}, which is idle")
                self._steps.stop(victim, reason)

    def _verdict(self, model: ModelState) -> Evict | Blocked | Never:
        return self._board.rules.eviction.victims(model.id, self._board.standing(model.id), allow_busy=False)

    def _conflicts(self, target: ModelId, victims: frozenset[ModelId]) -> bool:
        return any(
            plan.target in victims
            or target in plan.victims
            or not plan.victims.isdisjoint(victims)
            or self._would_break(plan, target)
            for plan in self._board.plans.values()
            if plan.target != target
        )

    def _would_break(self, plan: Plan, newcomer: ModelId) -> bool:
        """Would an older plan have to be given up if ``newcomer`` ran?"""
        mine = self._board.plans.get(newcomer)
        if mine is not None and mine.number < plan.number:
            return False
        standing = self._board.standing(plan.target)
        standing[newcomer] = Standing(phase=Phase.STARTING, busy=True, last_used=0.0, movable=True)
        verdict = self._board.rules.eviction.victims(plan.target, standing, allow_busy=False)
        return isinstance(verdict, Blocked) and newcomer in verdict.by

    def _refuse_if_stuck(self, model: ModelState, by: frozenset[ModelId]) -> None:
        stuck = [name for name in by if self._board.models[name].phase is Phase.STUCK]
        if stuck:
            self._steps.refuse_all(model, Refusal.STUCK, self._steps.pid_text(min(stuck)))


def _names(models: frozenset[ModelId]) -> str:
    return ", ".join(sorted(models))
