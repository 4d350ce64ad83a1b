"""What a policy that keeps accounts of callers is told, and asked: who of a model's waiting requests is next.

For any other policy nobody is told, and the oldest request is next (``contracts.Accounting``). Changes nothing.
Called by ``steps.py`` at the moment at which something happens, and by ``life.py`` for starts.
"""

from collections.abc import Callable

from protocol.ids import LeaseId
from supervisor.scheduler.board import Board
from supervisor.scheduler.contracts import Swap
from supervisor.scheduler.state import Lease, ModelState, Waiter
from supervisor.scheduler.view import View, seen


class Accounts:
    """Speaks to the policy of the rules in force. ``note``: one line for the log, with its level."""

    def __init__(self, board: Board, note: Callable[[str, str], None]) -> None:
        self._board = board
        self._view = View(board)
        self._note = note

    def next_of(self, model: ModelState) -> Waiter:
        """Who gets the next lease of a model that requests wait for; a call that does not wait is not picked."""
        policy = self._board.rules.accounting
        if policy is None:
            return next(iter(model.waiting.values()))
        call = policy.pick(self._view, model.id)
        if call in model.waiting:
            return model.waiting[call]
        self._note(f"the policy picks {call!r}, which does not wait for {model.id!r}", "error")
        return next(iter(model.waiting.values()))

    def arrived(self, waiter: Waiter) -> None:
        """A request waits."""
        policy = self._board.rules.accounting
        if policy is not None and waiter.worker is not None:
            policy.arrived(seen(waiter))

    def left(self, waiter: Waiter) -> None:
        """It has gone without a lease."""
        policy = self._board.rules.accounting
        if policy is not None and waiter.worker is not None:
            policy.left(seen(waiter))

    def granted(self, waiter: Waiter, lease: LeaseId) -> None:
        """It has a lease."""
        policy = self._board.rules.accounting
        if policy is not None:
            policy.granted(seen(waiter), lease)

    def ended(self, lease: Lease, last_used: float) -> None:
        """A lease has ended; ``last_used``: seconds of the core's clock."""
        policy = self._board.rules.accounting
        if policy is not None:
            policy.ended(lease.id, max(0.0, last_used - lease.granted))

    def swapped(self, model: ModelState) -> None:
        """A model became ready."""
        policy = self._board.rules.accounting
        if policy is not None:
            policy.swapped(Swap(model.id, model.displaced, model.last_swap_time))
