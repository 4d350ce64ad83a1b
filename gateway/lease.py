"""What a worker needs of the supervisor, as small interfaces; ``protocol/worker_link.py`` is the real thing."""

from typing import Protocol

from protocol.catalogue import Catalogue
from protocol.control import Reply, Verb
from protocol.ids import LeaseId
from protocol.messages import Granted, Outcome


class LeaseSource(Protocol):
    """Where leases come from."""

    async def acquire(
        self, name: str, *, caller: str, deadline_in: float | None = None, wants_progress: bool = False
    ) -> Granted:
        """Wait for a lease; raises ``AcquireRefused``; cancelling it leaves nothing behind."""
        ...

    def release(self, lease: LeaseId) -> None:
        """The upstream exchange has ended."""
        ...

    def report(self, row: Outcome) -> None:
        """How an exchange ended."""
        ...


class Supervisor(LeaseSource, Protocol):
    """The whole conversation."""

    @property
    def catalogue(self) -> Catalogue:
        """What to answer from."""
        ...

    async def ask(self, verb: Verb) -> Reply:
        """A control question on behalf of a client."""
        ...
