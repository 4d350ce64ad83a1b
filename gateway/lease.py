"""What a worker needs of the supervisor, as small interfaces; ``protocol/worker_link.py`` is the real thing."""

from typing import Protocol

from protocol.catalogue import Catalogue
from protocol.control import Reply, Verb
from protocol.ids import CallId, LeaseId
from protocol.lease_calls import LeaseDone
from protocol.messages import Outcome


class LeaseSource(Protocol):
    """Where leases come from. Called by ``leases.py`` on the trio thread."""

    def request_lease(self, name: str, *, caller: str, deadline_in: float | None = None, done: LeaseDone) -> CallId:
        """Ask; ``done`` gets the answer once, later. Raises ``AcquireRefused`` or ``ConversationEnded`` at once."""
        ...

    def cancel(self, call: CallId) -> None:
        """Nobody waits for the answer any more; nothing is left behind."""
        ...

    def release(self, lease: LeaseId, last_used: int | None = None) -> None:
        """A lease ends. ``last_used``: a ``time.monotonic_ns()`` reading; None: now."""
        ...


class Supervisor(Protocol):
    """The rest of the conversation."""

    @property
    def catalogue(self) -> Catalogue:
        """What to answer from."""
        ...

    def report(self, row: Outcome) -> None:
        """How an exchange ended."""
        ...

    async def ask(self, verb: Verb) -> Reply:
        """A control question on behalf of a client."""
        ...
