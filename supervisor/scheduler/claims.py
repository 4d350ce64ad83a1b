"""The claim: room reserved for a blocked request that has waited too long (design.md, *The claim*).

While it stands, nothing starts that would be in its way. Once every model that must go has had its time, all
of them drain together; they are stopped when all are idle, and serve again if the claim ends otherwise. The
policy asks for it, one stands at a time. Called by ``core.py``: ``make`` for the policy's ``Claim``,
``review`` whenever something changed.
"""

from dataclasses import replace

from protocol.ids import ModelId, Refusal
from supervisor.scheduler.contracts import Blocked, Evict, Never, Standing, Verdict
from supervisor.scheduler.phases import DrainBegun, DrainEnded, Phase
from supervisor.scheduler.residence import Residence
from supervisor.scheduler.room import Room
from supervisor.scheduler.state import ModelState, StandingClaim
from supervisor.scheduler.steps import Steps


class Claims:
    """The one claim that may stand, on the board that ``steps`` changes."""

    def __init__(self, steps: Steps, room: Room, residence: Residence) -> None:
        self._steps = steps
        self._board = steps.board
        self._room = room
        self._residence = residence

    def make(self, model: ModelState) -> None:
        """Reserve room for a stopped model that requests wait for."""
        waited = self._steps.now - next(iter(model.waiting.values())).arrived
        self._steps.note(f"{model.id}: claims room, its oldest request has waited {waited:.0f} s")
        self._board.claim = StandingClaim(model.id, self._steps.now)
        self.review()

    def review(self) -> None:
        """Bring the claim up to date: its victims, its end."""
        claim = self._board.claim
        if claim is None:
            return
        model = self._board.models.get(claim.target)
        if model is None or not model.waiting:
            self._end(claim, "nobody waits for it any more")
        elif model.phase is Phase.READY:
            self._steps.serve(model, model.free)
            self._end(claim, "served")
        elif model.phase is Phase.STOPPED:
            self._advance(claim, model)
        else:
            # On its way, so nothing has to drain for it any more.
            self._drain_exactly(claim, frozenset())

    def _advance(self, claim: StandingClaim, model: ModelState) -> None:
        verdict = self._verdict(claim)
        while isinstance(verdict, Evict) and not verdict.victims.isdisjoint(self._board.plans):
            self._room.yield_to_claim(model.id, verdict.victims)
            verdict = self._verdict(claim)
        match verdict:
            case Never(reason):
                self._steps.refuse_all(model, Refusal.IMPOSSIBLE, reason)
                self._end(claim, "it cannot run")
            case Blocked():
                self._drain_exactly(claim, frozenset())
                if self._room.refuse_if_stuck(model):
                    self._end(claim, "what is in its way does not end")
                else:
                    self._residence.watch(model.id, claimed=True)
            case Evict(victims):
                self._drain_exactly(claim, victims)
                if all(self._idle(name) for name in victims):
                    claim.draining.clear()
                    self._room.yield_to_claim(model.id, victims)
                    self._room.begin(model, victims)

    def _verdict(self, claim: StandingClaim) -> Verdict:
        """Who must go; what drains already is not exchanged for something else that would do as well."""
        standing = self._residence.standing(claim.target, claimed=True)
        if claim.draining:
            verdict = self._room.ask(claim.target, _only(claim.draining, standing), allow_busy=True)
            if isinstance(verdict, Evict):
                return verdict
        return self._room.ask(claim.target, standing, allow_busy=True)

    def _drain_exactly(self, claim: StandingClaim, victims: frozenset[ModelId]) -> None:
        self._serve_again(claim.draining - victims)
        for name in sorted(victims, key=self._order):
            victim = self._board.models[name]
            if victim.phase is Phase.READY:
                self._steps.note(f"{claim.target}: {name} drains for it ({len(victim.leases)} leases)")
                self._steps.move(victim, DrainBegun)
                self._steps.recall(victim)
        claim.draining = {name for name in victims if self._board.models[name].phase is Phase.DRAINING}

    def _serve_again(self, names: set[ModelId]) -> None:
        """What is no longer needed, if it is still there; what an order drains goes on draining."""
        for name in sorted(names & self._board.models.keys(), key=self._order):
            model = self._board.models[name]
            if model.phase is Phase.DRAINING and not model.ordered:
                self._steps.move(model, DrainEnded)
                self._steps.answer_loads(model)
                self._steps.watch_ttl(model)

    def _end(self, claim: StandingClaim, why: str) -> None:
        self._board.claim = None
        self._serve_again(claim.draining)
        self._steps.note(f"{claim.target}: its claim ends: {why}")
        self._board.stir()

    def _idle(self, name: ModelId) -> bool:
        return not self._board.models[name].leases or self._board.models[name].phase is Phase.STOPPING

    def _order(self, name: ModelId) -> int:
        return self._board.models[name].order


def _only(draining: set[ModelId], standing: dict[ModelId, Standing]) -> dict[ModelId, Standing]:
    return {
        name: entry if name in draining or entry.phase is Phase.STOPPING else replace(entry, movable=False)
        for name, entry in standing.items()
    }
