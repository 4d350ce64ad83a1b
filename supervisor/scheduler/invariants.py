"""What must hold after every event (design.md, *Invariants*), checked from the board and the effects.

Used by the model-based tests after each step, and by the supervisor when it runs with ``--log-level debug``.
Raises ``InvariantBroken`` naming the rule; changes nothing.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from supervisor.scheduler import effects as do
from supervisor.scheduler.board import Board
from supervisor.scheduler.phases import RUNNING, Phase
from supervisor.scheduler.state import NEVER


class InvariantBroken(AssertionError):
    """The scheduler contradicts itself: a defect of ours, never of its input."""


def check(board: Board, effects: Sequence[do.Effect]) -> None:
    """Raise for the first invariant that the state after an event, or its effects, break."""
    for broken in (
        *_requests(board),
        *_leases(board, effects),
        *_starts(board, effects),
        *_times(board),
        *_indexes(board),
    ):
        raise InvariantBroken(broken)


def _requests(board: Board) -> Iterator[str]:
    waiting = {call for model in board.models.values() for call in model.waiting}
    if waiting != set(board.waiters):
        yield "the queue and its index differ"
    if waiting & set(board.lease_of):
        yield "a request both waits and has a lease"
    if board.closing and waiting:
        yield "somebody waits although we are shutting down"


def _leases(board: Board, effects: Sequence[do.Effect]) -> Iterator[str]:
    for model in board.models.values():
        if model.leases and model.phase not in RUNNING:
            yield f"{model.id} has leases and no process"
        if any(lease.generation != model.generation for lease in model.leases.values()):
            yield f"{model.id} has leases of an older generation"
        parking, parkable = model.parking, Counter(lease.worker for lease in model.leases.values() if lease.parkable)
        if parking.held != parkable:
            yield f"{model.id}: its parkable leases and their index differ"
        if parking.spare > len(model.leases) or any(parking.held.get(w, 0) < n for w, n in parking.reusable.items()):
            yield f"{model.id}: more leases may come back than there are"
    for effect in effects:
        if isinstance(effect, do.Grant):
            model = board.models[effect.model]
            if len(model.leases) > model.rule.limit:
                yield f"a grant raised {model.id} above its limit"
        if isinstance(effect, do.StopModel) and effect.reason in _GENTLE and board.models[effect.model].leases:
            yield f"{effect.model} was stopped ({effect.reason}) with leases"


_GENTLE = frozenset({do.StopReason.EVICTED, do.StopReason.TTL, do.StopReason.DRAINED, do.StopReason.ABORTED})


def _starts(board: Board, effects: Sequence[do.Effect]) -> Iterator[str]:
    plans = list(board.plans.values())
    for plan in plans:
        if board.models[plan.target].phase is not Phase.MAKING_ROOM:
            yield f"{plan.target} has a plan and is {board.models[plan.target].phase}"
        for other in plans:
            if other is not plan and (plan.victims & other.victims or plan.target in other.victims):
                yield f"the plans of {plan.target} and {other.target} share a victim or take each other's target"
    for effect in effects:
        if isinstance(effect, do.StartModel) and board.models[effect.model].plan is not None:
            yield f"{effect.model} started while its plan waits for victims"


def _times(board: Board) -> Iterator[str]:
    for model in board.models.values():
        idle = model.phase is Phase.READY and not model.leases and not model.waiting
        if idle and model.rule.ttl > 0 and model.ttl_timer == NEVER:
            yield f"{model.id} is idle, and nobody looks again when its time to live is over"
        if min((waiter.deadline for waiter in model.waiting.values()), default=NEVER) < model.deadline_timer:
            yield f"nobody looks at {model.id} again when the first of its requests has waited too long"


def _indexes(board: Board) -> Iterator[str]:
    blocked = [waiter for name in board.blocked for waiter in board.models[name].waiting.values()]
    if min(blocked, key=lambda waiter: waiter.number, default=None) is not board.oldest_blocked():
        yield "the oldest blocked request and its index differ"
    for model in board.models.values():
        if (model.id in board.running) != (model.phase in RUNNING):
            yield f"{model.id} is {model.phase} and the index of running models disagrees"
        if (model.id in board.blocked) != (model.phase is Phase.STOPPED and bool(model.waiting)):
            yield f"{model.id} is {model.phase} and the index of blocked models disagrees"
        if (model.id in board.servable) != (model.phase is Phase.READY and bool(model.waiting) and model.free > 0):
            yield f"{model.id} is {model.phase} and the index of servable models disagrees"
        if model.loads and model.phase is Phase.READY:
            yield f"{model.id} is ready, and somebody still waits for nothing but that"
