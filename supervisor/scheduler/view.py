"""What a policy may see of the board (``contracts.Queue``): a reading, and nothing that it could change.

Made by ``core.py`` for the dialogue with the policy, where ``asked`` holds what was named during the event in hand,
and by ``accounts.py`` for the choice within a model.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from protocol.ids import CallId, ModelId
from supervisor.scheduler.board import Board
from supervisor.scheduler.contracts import Waiting
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.state import Waiter


class View:
    """What the policy may see of the board during one event (``contracts.Queue``)."""

    def __init__(self, board: Board, asked: AbstractSet[ModelId] = frozenset()) -> None:
        self._board = board
        self._asked = asked

    def servable(self) -> Sequence[ModelId]:
        left = self._board.servable - self._asked
        return self._board.by_age(left) if left else ()

    def blocked(self) -> Sequence[ModelId]:
        left = self._board.unjudged - self._asked
        return self._board.by_age(left) if left else ()

    def waiting(self, model: ModelId) -> Sequence[Waiting]:
        return [seen(waiter) for waiter in self._board.models[model].waiting.values()]

    def in_arrival_order(self) -> Iterator[Waiting]:
        return map(seen, self._board.waiters.values())

    def claimable(self) -> Waiting | None:
        if self._board.claim is not None:
            return None
        waiter = self._board.oldest_blocked()
        return seen(waiter) if waiter else None

    def phase(self, model: ModelId) -> Phase:
        return self._board.models[model].phase

    def free(self, model: ModelId) -> int:
        return self._board.models[model].free

    def limit(self, model: ModelId) -> int:
        return self._board.models[model].rule.limit

    def all_blocked(self) -> Iterable[ModelId]:
        return self._board.blocked

    def making_room(self) -> Iterable[ModelId]:
        return self._board.plans.keys()

    def count(self, model: ModelId) -> int:
        return len(self._board.models[model].waiting)

    def oldest(self, model: ModelId) -> Waiting | None:
        return _first_of(self._board.models[model].waiting)

    def callers(self, model: ModelId) -> Iterable[str]:
        return self._board.models[model].callers.keys()

    def first(self, model: ModelId, caller: str) -> Waiting | None:
        return _first_of(self._board.models[model].callers.get(caller))

    def in_the_way(self, model: ModelId) -> frozenset[ModelId]:
        board = self._board
        return frozenset(
            other for other in board.models[model].blocked_by if other in board.running or other in board.plans
        )

    def ready_at(self, model: ModelId) -> float | None:
        return self._board.models[model].ready_at


def seen(waiter: Waiter) -> Waiting:
    """A request as a policy may see it."""
    return Waiting(waiter.call, waiter.model, waiter.caller, waiter.arrived, waiter.number)


def _first_of(waiting: OrderedDict[CallId, Waiter] | None) -> Waiting | None:
    return seen(next(iter(waiting.values()))) if waiting else None
