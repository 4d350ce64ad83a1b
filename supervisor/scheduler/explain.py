"""Why a request waits, and how long: a reading of the board. Changes nothing.

Each waiting request can name its blockers (design.md, invariant 4). Asked by ``supervisor/status.py`` for
``swapctl queue`` and ``swapctl explain``, by ``requests.py`` for ``Retry-After``, and by the tests.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from protocol.ids import ModelId
from supervisor.scheduler.board import Board
from supervisor.scheduler.contracts import Blocked, Never
from supervisor.scheduler.estimates import UNKNOWN_SERVICE, wait
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.residence import resident_until
from supervisor.scheduler.state import NEVER, ModelState, Waiter

MOST_LEASES = 20
"""Leases named one by one; the rest are counted."""


class Kind(StrEnum):
    """What a request may wait for."""

    LEASE = "lease"
    START = "start"
    STOP = "stop"
    CLAIM = "claim"
    PLAN = "plan"
    TIMER = "timer"
    DECISION = "decision"


@dataclass(frozen=True, slots=True)
class Blocker:
    """One thing that has to happen first. ``until``: seconds of the core's clock, if a timer decides."""

    kind: Kind
    model: ModelId
    text: str
    until: float | None = None


def estimates(board: Board, model: ModelState, now: float) -> Iterator[float]:
    """Seconds until each waiting request of a model gets its lease, in order, and then a newcomer.

    What cannot be known is left out.
    """
    start = _start_left(board, model, now)
    service = model.service.or_else(UNKNOWN_SERVICE)
    ahead = len(model.leases)
    for waiter in (*model.waiting.values(), None):
        yield wait(start=start, ahead=ahead, limit=model.rule.limit, service=service)
        ahead += waiter is not None and waiter.worker is not None


def estimate(board: Board, model: ModelState, waiter: Waiter | None, now: float) -> float:
    """The same for one of them; None: for a newcomer."""
    everybody = zip((*model.waiting.values(), None), estimates(board, model, now), strict=True)
    return next(seconds for one, seconds in everybody if one is waiter)


def loading(model: ModelState, since: float) -> float:
    """Seconds in which a model was made ready for a request that came at ``since``: room and start together."""
    return max(0.0, (model.ready_at or 0.0) - max(since, model.wanted_at))


def _start_left(board: Board, model: ModelState, now: float) -> float:
    """What is left of its start: at the longest, an exchange of each model in its way, and a swap."""
    if model.phase is Phase.READY:
        return 0.0
    learned = [other.swap.mean for other in board.models.values() if other.swap.samples]
    swap = model.swap.or_else(sum(learned) / max(1, len(learned)))
    if model.phase in (Phase.STARTING, Phase.MAKING_ROOM):
        return max(0.0, swap - (now - model.wanted_at))
    in_the_way = [board.models[name] for name in model.blocked_by if name in board.models]
    services = [other.service.or_else(UNKNOWN_SERVICE) for other in in_the_way if other.leases]
    return max(services, default=0.0) + swap


def blockers(board: Board, model: ModelState, now: float) -> tuple[Blocker, ...]:
    """What the waiting requests of a model wait for; never empty."""
    match model.phase:
        case Phase.READY:
            free = Blocker(Kind.DECISION, model.id, "the policy serves it when it sees fit")
            found = _leases(model) if model.free <= 0 else (free,)
        case Phase.STARTING:
            found = (Blocker(Kind.START, model.id, f"generation {model.generation} has to become ready"),)
        case Phase.STOPPING | Phase.STUCK:
            found = (_stop(model),)
        case Phase.DRAINING:
            found = (_drain(board, model), *_leases(model))
        case Phase.MAKING_ROOM:
            found = _plan(board, model)
        case Phase.STOPPED | Phase.BACKING_OFF:  # nobody waits during a pause
            found = _room(board, model, now)
    return found


def _leases(model: ModelState) -> tuple[Blocker, ...]:
    named = list(model.leases)[:MOST_LEASES]
    found = [Blocker(Kind.LEASE, model.id, f"lease {lease} has to end") for lease in named]
    if len(model.leases) > len(named):
        found.append(Blocker(Kind.LEASE, model.id, f"and {len(model.leases) - len(named)} more leases"))
    return tuple(found)


def _stop(model: ModelState) -> Blocker:
    return Blocker(Kind.STOP, model.id, f"generation {model.generation} has to exit")


def _drain(board: Board, model: ModelState) -> Blocker:
    claim = board.claim
    if claim is not None and model.id in claim.draining and not model.ordered:
        return Blocker(Kind.CLAIM, claim.target, f"{model.id} drains for it")
    return Blocker(Kind.STOP, model.id, "it drains and will stop")


def _plan(board: Board, model: ModelState) -> tuple[Blocker, ...]:
    victims = model.plan.victims if model.plan else set()
    stops = [_stop(board.models[name]) for name in _in_order(board, victims) if name in board.running]
    return tuple(stops) or (Blocker(Kind.DECISION, model.id, "it starts now"),)


def _room(board: Board, model: ModelState, now: float) -> tuple[Blocker, ...]:
    """A stopped model: what is in its way."""
    standing = {other.id: other.standing(movable=True) for other in board.beside(model.id)}
    verdict = board.rules.eviction.victims(model.id, standing, allow_busy=False)
    if isinstance(verdict, Never):
        return (Blocker(Kind.DECISION, model.id, verdict.reason),)
    in_the_way = _in_order(board, verdict.by if isinstance(verdict, Blocked) else verdict.victims)
    first = [name for name in _in_order(board, model.blocked_by) if name in board.plans and name not in in_the_way]
    found = [
        *_claim(board, model),
        *(blocker for name in in_the_way for blocker in _in_the_way(board, model, board.models[name], now)),
        *(_plan_of(name) for name in first),
        *_asked_for_leases(board, model),
    ]
    if board.claim is None and board.asked_again is not None and board.asked_again > now:
        found.append(Blocker(Kind.TIMER, model.id, "the policy decides again", board.asked_again))
    return tuple(found) or (Blocker(Kind.DECISION, model.id, "it is tried at the next event"),)


def _asked_for_leases(board: Board, model: ModelState) -> list[Blocker]:
    """Whoever would rather go, if what its workers keep is idle: they were asked, and have a moment to answer."""
    asked = [board.models[name] for name in _in_order(board, model.blocked_by)]
    text = "its workers were asked for the leases that they keep"
    return [Blocker(Kind.TIMER, other.id, text, other.answer_timer) for other in asked if other.answer_timer < NEVER]


def _claim(board: Board, model: ModelState) -> tuple[Blocker, ...]:
    claim = board.claim
    if claim is None or not (claim.target == model.id or claim.target in model.blocked_by):
        return ()
    mine = claim.target == model.id
    text = "its own claim stands" if mine else "claims room; nothing starts against it"
    return (Blocker(Kind.CLAIM, claim.target, text),)


def _in_the_way(board: Board, model: ModelState, other: ModelState, now: float) -> tuple[Blocker, ...]:
    """What has to happen to ``other`` before ``model`` starts; nothing, if somebody else holds it up."""
    match other.phase:
        case Phase.STOPPING | Phase.STUCK:
            return (_stop(other),)
        case Phase.STARTING if other.waiting:
            return (Blocker(Kind.START, other.id, f"generation {other.generation} has waiting requests"),)
        case Phase.MAKING_ROOM:
            return (_plan_of(other.id),)
    claimed = board.claim is not None and board.claim.target == model.id
    until = resident_until(other, board.rules.policy, claimed=claimed)
    held = (Blocker(Kind.TIMER, other.id, "keeps its room for a while after it is ready", until),)
    return (*(held if now < until < NEVER else ()), *_leases(other))


def _plan_of(name: ModelId) -> Blocker:
    return Blocker(Kind.PLAN, name, "makes room and was first")


def _in_order(board: Board, names: AbstractSet[ModelId]) -> list[ModelId]:
    return sorted((name for name in names if name in board.models), key=lambda name: board.models[name].order)
