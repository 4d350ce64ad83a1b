"""Fair shares among callers: start-time fair queueing over seconds of service (``design.md``, *window*).

Each caller has a *tag*: the service charged to him so far, in seconds over his weight, on one virtual time line.
Who has the smallest tag is next. A caller who comes back after a pause begins at the virtual time, so that nobody
saves up; a caller whose tag the virtual time has passed is like one that never was, and is forgotten. A lease is
charged when it is granted, by estimate, and corrected when it ends. Used by ``window.py``; knows no models.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from supervisor.scheduler.events import Snapshot

LEAST_ACTIVE = 1e-6
"""Of weights, all callers together: less is a rounding error, and nobody is here."""
MOST_IDLE = 10_000
"""Accounts of callers that are idle and ahead of the virtual time; beyond that, the one least ahead is forgotten."""


@dataclass(slots=True)
class Account:
    """One caller. ``tag``: virtual seconds; ``waiting``, ``leases``: how many of his requests wait and are served."""

    tag: float
    waiting: int = 0
    leases: int = 0

    @property
    def idle(self) -> bool:
        """Nothing of his is here."""
        return self.waiting <= 0 and self.leases <= 0


@dataclass(slots=True)
class Shares:
    """All accounts. ``weights``: by caller, 1 for everybody else; the more, the more service."""

    weights: Mapping[str, float] = field(default_factory=dict)
    now: float = 0.0
    """The virtual time: what a caller of weight 1 would have had who was always here. Seconds."""
    accounts: dict[str, Account] = field(default_factory=dict)
    _active: float = 0.0
    """The weights of all who are not idle."""
    _idle: list[tuple[float, str]] = field(default_factory=list)
    """A heap of callers that are idle and ahead; entries that are out of date are skipped."""

    def tag(self, caller: str) -> float:
        """Where a caller stands; the virtual time, if nothing is known of him."""
        account = self.accounts.get(caller)
        return self.now if account is None else account.tag

    def arrived(self, caller: str) -> None:
        """A request of his waits; after a pause he begins at the virtual time."""
        account = self._active_account(caller)
        account.waiting += 1

    def left(self, caller: str) -> None:
        """It has gone without service."""
        account = self._active_account(caller)
        account.waiting = max(0, account.waiting - 1)
        self._settle(caller, account)

    def granted(self, caller: str, seconds: float) -> None:
        """A lease is his; ``seconds``: the service that it is expected to take."""
        account = self._active_account(caller)
        account.waiting = max(0, account.waiting - 1)
        account.leases += 1
        self._advance(account.tag)
        account.tag += seconds / self.weight(caller)

    def ended(self, caller: str, seconds: float, charged: float) -> None:
        """His lease has ended after ``seconds``, and ``charged`` were charged for it."""
        account = self._active_account(caller)
        account.leases = max(0, account.leases - 1)
        account.tag += (seconds - charged) / self.weight(caller)
        self._advance(self.now + seconds / max(self._active, self.weight(caller)))
        self._settle(caller, account)

    def weight(self, caller: str) -> float:
        """Of this caller."""
        return self.weights.get(caller, 1.0)

    def snapshot(self) -> dict[str, Any]:
        """As plain values."""
        accounts = {name: [each.tag, each.waiting, each.leases] for name, each in self.accounts.items()}
        return {"now": self.now, "active": self._active, "weights": dict(self.weights), "accounts": accounts}

    def restore(self, snapshot: Snapshot) -> None:
        """Take over what ``snapshot`` returned; the weights may be new."""
        self.now, self._active = snapshot["now"], snapshot["active"]
        self.accounts = {name: Account(*saved) for name, saved in snapshot["accounts"].items()}
        if snapshot["weights"] != self.weights:
            self._active = sum(self.weight(name) for name, each in self.accounts.items() if not each.idle)
        self._gather()

    def _active_account(self, caller: str) -> Account:
        """His account; if he was idle, he is not any more."""
        account = self.accounts.get(caller)
        if account is None:
            account = self.accounts[caller] = Account(self.now)
        if account.idle:
            account.tag = max(account.tag, self.now)
            self._active += self.weight(caller)
        return account

    def _settle(self, caller: str, account: Account) -> None:
        """Something of his has ended: perhaps he is idle now, or everybody is."""
        if not account.idle:
            return
        self._active = max(0.0, self._active - self.weight(caller))
        heapq.heappush(self._idle, (account.tag, caller))
        if self._active < LEAST_ACTIVE:
            self._active = 0.0
            self._advance(max(each.tag for each in self.accounts.values()))
        else:
            self._advance(self.now)
        if len(self._idle) > 2 * MOST_IDLE:
            self._gather()
            while len(self._idle) > MOST_IDLE:
                self._drop()

    def _advance(self, time: float) -> None:
        """Virtual time goes on, and whoever is idle and not ahead of it is forgotten."""
        self.now = max(self.now, time)
        while self._idle and self._idle[0][0] <= self.now:
            self._drop()

    def _drop(self) -> None:
        """The entry least ahead, and its account, if it is still what the entry says."""
        tag, caller = heapq.heappop(self._idle)
        account = self.accounts.get(caller)
        if account is not None and account.idle and account.tag == tag:
            del self.accounts[caller]

    def _gather(self) -> None:
        self._idle = [(each.tag, name) for name, each in self.accounts.items() if each.idle]
        heapq.heapify(self._idle)
