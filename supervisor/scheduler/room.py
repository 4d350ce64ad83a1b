"""Making room: which start may go on now, which must wait, which is given up.

Asks the eviction rule *who must go*; never stops a busy model, and never lets two plans share a victim or
take each other's target, nor anything start that an older plan or the claim would have to wait for. Victims
are computed afresh whenever something changed. Called by ``core.py`` after each event (``review``) and for
each ``MakeWay`` of the policy (``make_way``), and by ``claims.py``.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

from protocol.ids import ModelId, Refusal
from supervisor.scheduler.contracts import Blocked, Evict, Never, Standing, Verdict, forbidden
from supervisor.scheduler.effects import StopReason
from supervisor.scheduler.parked import Parked
from supervisor.scheduler.phases import Phase, PlanGivenUp, RoomNeeded
from supervisor.scheduler.residence import Residence
from supervisor.scheduler.state import ModelState, Plan
from supervisor.scheduler.steps import Steps


class Room:
    """Plans under way, on the board that ``steps`` changes."""

    def __init__(self, steps: Steps, residence: Residence, parked: Parked) -> None:
        self._steps = steps
        self._board = steps.board
        self._residence = residence
        self._parked = parked
        self.plans_made = 0

    def make_way(self, model: ModelState) -> None:
        """Start a stopped model, at once or after its victims; without room it stays where it is."""
        self._board.unjudged.discard(model.id)
        parked = self._parked.in_the_way(model.id)
        if parked:
            self._wait(model, parked)
            self._parked.watch(parked)
            return
        match self._verdict(model):
            case Never(reason):
                self._steps.refuse_all(model, Refusal.IMPOSSIBLE, reason)
            case Blocked(by):
                self._wait(model, by)
                self.refuse_if_stuck(model)
            case Evict(victims):
                by = self.hindered(model.id, victims)
                if by:
                    self._wait(model, by)
                else:
                    self.begin(model, victims)

    def begin(self, model: ModelState, victims: frozenset[ModelId]) -> None:
        """Start a stopped model when these have exited; all of them are idle."""
        model.wanted_at = self._steps.now
        model.blocked_by = model.displaced = frozenset()
        if not victims:
            self._steps.note(f"{model.id}: starts, there is room")
            self._steps.start(model)
            return
        self.plans_made += 1
        plan = Plan(model.id, self.plans_made)
        model.plan = plan
        model.swaps += 1
        self._board.plans[model.id] = plan
        self._steps.move(model, RoomNeeded)
        self._take(plan, victims)

    def review(self) -> None:
        """Bring every plan up to date, oldest first."""
        for plan in self._board.plans_by_age():
            self._review(plan)

    def give_up(self, model: ModelState, why: str) -> None:
        """End a plan; its target's requests keep their places, its victims finish stopping."""
        del self._board.plans[model.id]
        model.plan = None
        self._steps.move(model, PlanGivenUp)
        self._steps.note(f"{model.id}: plan given up: {why}")
        self._steps.forget_if_retired(model)

    def hindered(self, target: ModelId, victims: frozenset[ModelId]) -> frozenset[ModelId]:
        """The targets of older plans and of the claim that a start of ``target`` now would be in the way of."""
        claimed = self._board.claim.target if self._board.claim is not None else None
        if claimed == target:
            return frozenset()
        mine = self._board.plans.get(target)
        plans = self._board.plans.values()
        first = [plan for plan in plans if mine is None or plan.number < mine.number or plan.target == claimed]
        by = self._colliding(first, target, victims)
        if claimed is not None and self._delays_claim(claimed, target, victims):
            by.add(claimed)
        return frozenset(by)

    def yield_to_claim(self, target: ModelId, victims: frozenset[ModelId]) -> None:
        """Give up every plan that collides with the start that a claim makes."""
        others = [plan for plan in self._board.plans_by_age() if plan.target != target]
        for name in sorted(self._colliding(others, target, victims), key=lambda name: self._board.plans[name].number):
            self.give_up(self._board.models[name], f"the claim of {target} needs the same room")

    def _colliding(self, plans: list[Plan], target: ModelId, victims: frozenset[ModelId]) -> set[ModelId]:
        return {plan.target for plan in plans if self._collides(plan, target, victims)}

    def refuse_if_stuck(self, model: ModelState) -> bool:
        """Refuse who waits for a model if every way to make room needs one gone that does not die."""
        entries = self._entries(model.id)
        if not any(entry.phase is Phase.STUCK for _, entry in entries):
            return False
        standing = {name: entry.standing(movable=True) for name, entry in entries}
        verdict = self.ask(model.id, standing, allow_busy=True)
        if not isinstance(verdict, Blocked):
            return False
        stuck = [name for name in verdict.by if self._board.models[name].phase is Phase.STUCK]
        if stuck:
            first = min(stuck, key=lambda name: self._board.models[name].order)
            self._steps.refuse_all(model, Refusal.STUCK, self._steps.pid_text(first))
        return bool(stuck)

    def _wait(self, model: ModelState, by: frozenset[ModelId]) -> None:
        """It stays in the queue; whoever is in its way gives back what he keeps for convenience."""
        if by != model.blocked_by:
            model.blocked_by = by
            self._steps.note(f"{model.id}: waits for {self._names(by) or 'room'}")
        for name in sorted(by, key=lambda name: self._board.models[name].order):
            self._steps.recall(self._board.models[name])
        self._residence.watch(model.id, claimed=False)

    def _review(self, plan: Plan) -> None:
        model = self._board.models[plan.target]
        if not model.waiting:
            self.give_up(model, "nobody waits for it any more")
            return
        verdict = self._verdict_again(plan)
        if self._give_up_newer(plan, verdict):
            verdict = self._verdict_again(plan)
        match verdict:
            case Never(reason):
                self.give_up(model, reason)
                self._steps.refuse_all(model, Refusal.IMPOSSIBLE, reason)
            case Blocked(by):
                self.give_up(model, f"{self._names(by)} cannot go now")
                self.refuse_if_stuck(model)
            case Evict(victims):
                by = self.hindered(model.id, victims)
                if by:
                    self.give_up(model, f"{self._names(by)} needs the same room and goes first")
                elif victims:
                    self._take(plan, victims)
                else:
                    del self._board.plans[model.id]
                    model.plan = None
                    model.displaced = frozenset(plan.victims)
                    self._steps.note(f"{model.id}: starts, its room is free")
                    self._steps.start(model)

    def _give_up_newer(self, plan: Plan, verdict: Verdict) -> bool:
        """The older plan wins (new rules can make two plans under way collide)."""
        names = verdict.by if isinstance(verdict, Blocked) else verdict.victims if isinstance(verdict, Evict) else ()
        newer = [other for name in names if (other := self._board.plans.get(name)) and other.number > plan.number]
        for other in sorted(newer, key=lambda other: other.number):
            self.give_up(self._board.models[other.target], f"{plan.target} needs the same room and was first")
        return bool(newer)

    def _take(self, plan: Plan, victims: frozenset[ModelId]) -> None:
        for name in sorted(victims, key=lambda name: self._board.models[name].order):
            victim = self._board.models[name]
            plan.victims.add(name)
            if victim.phase is not Phase.STOPPING:
                reason = StopReason.ABORTED if victim.phase is Phase.STARTING else StopReason.EVICTED
                self._steps.note(f"{plan.target}: needs the room of {name}, which is idle")
                self._steps.stop(victim, reason)

    def _verdict(self, model: ModelState) -> Verdict:
        return self.ask(model.id, self._residence.standing(model.id))

    def _verdict_again(self, plan: Plan) -> Verdict:
        """For a plan under way: its own victims, else what stops anyway, before any model that lives."""
        standing = self._residence.standing(plan.target)
        stopping = {name for name, entry in standing.items() if entry.phase is Phase.STOPPING}
        for going in (stopping & plan.victims, stopping):
            verdict = self.ask(plan.target, _as_if_only(going, standing))
            if isinstance(verdict, Evict):
                return verdict
        return self.ask(plan.target, standing)

    def ask(self, target: ModelId, standing: Mapping[ModelId, Standing], *, allow_busy: bool = False) -> Verdict:
        """The verdict of the eviction rule; one that its contract forbids is noted, and then nobody goes."""
        rule = self._board.rules.eviction
        verdict = rule.victims(target, standing, allow_busy=allow_busy)
        mistake = forbidden(verdict, standing, allow_busy=allow_busy)
        if mistake is None:
            return verdict
        self._steps.note(f"the eviction rule {rule.name!r} {mistake}", "error")
        return Blocked(frozenset())

    def _collides(self, plan: Plan, target: ModelId, victims: frozenset[ModelId]) -> bool:
        """Invariant 3, and nothing starts that an older plan would have to wait for."""
        if plan.target in victims or target in plan.victims or not plan.victims.isdisjoint(victims):
            return True
        return not self._suffices(plan.target, frozenset(plan.victims), target, victims, allow_busy=False)

    def _delays_claim(self, claimed: ModelId, target: ModelId, victims: frozenset[ModelId]) -> bool:
        standing = {name: entry.standing(movable=True) for name, entry in self._entries(claimed)}
        before = self.ask(claimed, standing, allow_busy=True)
        if not isinstance(before, Evict):
            return False
        return not self._suffices(claimed, before.victims, target, victims, allow_busy=True)

    def _suffices(
        self,
        target: ModelId,
        allowed: frozenset[ModelId],
        newcomer: ModelId,
        gone: frozenset[ModelId],
        *,
        allow_busy: bool,
    ) -> bool:
        """Would the victims ``allowed`` still be enough for ``target`` if ``newcomer`` ran in place of ``gone``?"""
        standing = {name: entry.standing(movable=True) for name, entry in self._entries(target) if name not in gone}
        standing[newcomer] = Standing(phase=Phase.STARTING, busy=True, last_used=self._steps.now, movable=False)
        verdict = self.ask(target, standing, allow_busy=allow_busy)
        return isinstance(verdict, Evict) and verdict.victims <= allowed

    def _entries(self, target: ModelId) -> list[tuple[ModelId, ModelState]]:
        return [(model.id, model) for model in self._board.beside(target)]

    def _names(self, models: frozenset[ModelId]) -> str:
        ordered = sorted(models, key=lambda name: self._board.models[name].order)
        return ", ".join(ordered)


def _as_if_only(going: AbstractSet[ModelId], standing: Mapping[ModelId, Standing]) -> dict[ModelId, Standing]:
    """As if nobody but these could go, and nobody else were going."""
    return {
        name: entry if name in going else replace(entry, phase=Phase.READY, movable=False)
        for name, entry in standing.items()
    }
