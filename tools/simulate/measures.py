"""What is measured of a run, while it runs: in all, by model, and by caller.

A granted request costs five numbers in compact arrays and a few additions; nothing is kept of it as an object.
``world.py`` tells the ``Record`` what happens, ``report.py`` and ``plot.py`` read it.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from protocol.ids import Refusal

COMPLAINTS = 5
"""How many texts of a policy's or rule's mistakes are kept."""


@dataclass(slots=True)
class Account:
    """All requests for one model, or of one caller. Times in seconds."""

    index: int
    asked: int = 0
    served: int = 0
    refused: int = 0
    missed: int = 0
    """Of the refused: those that waited until their deadline."""
    left: int = 0
    """Their client left before they were granted."""
    service: float = 0.0
    """Summed up over exchanges."""
    present: float = 0.0
    """In which at least one of these requests waited or was served."""
    open: int = 0
    since: float = 0.0
    starts: int = 0
    wasted: int = 0
    """Loads that served nobody."""

    def enter(self, now: float) -> None:
        """A request has come."""
        self.asked += 1
        if not self.open:
            self.since = now
        self.open += 1

    def leave(self, now: float) -> None:
        """A request has ended."""
        self.open -= 1
        if not self.open:
            self.present += now - self.since


class Accounts(dict[str, Account]):
    """Accounts by name, in the order in which they were first needed."""

    def __missing__(self, name: str) -> Account:
        account = self[name] = Account(len(self))
        return account


@dataclass(slots=True)
class Record:
    """What became of all requests. Times in seconds; waits are those of granted requests."""

    models: Accounts = field(default_factory=Accounts)
    callers: Accounts = field(default_factory=Accounts)
    refusals: Counter[Refusal] = field(default_factory=Counter)
    starts: int = 0
    wasted: int = 0
    serving: float = 0.0
    """In which at least one lease was out."""
    began: float | None = None
    """The first arrival."""
    ended: float = 0.0
    events: int = 0
    complaints: list[str] = field(default_factory=list)
    """What a policy or an eviction rule did that its contract does not allow."""
    _at: "array[float]" = field(default_factory=lambda: array("d"))
    _wait: "array[float]" = field(default_factory=lambda: array("d"))
    _model: "array[int]" = field(default_factory=lambda: array("I"))
    _caller: "array[int]" = field(default_factory=lambda: array("I"))
    _service: "array[float]" = field(default_factory=lambda: array("d"))
    _leases: int = 0
    _serving_since: float = 0.0
    _unused: dict[int, str] = field(default_factory=dict)
    """Generations that have served nobody so far."""

    # Told by the world.

    def asked(self, model: str, caller: str, now: float) -> None:
        """A request has come."""
        if self.began is None:
            self.began = now
        self.models[model].enter(now)
        self.callers[caller].enter(now)

    def granted(
        self, model: str, caller: str, arrived: float, now: float, generation: int, *, service: float = 0.0
    ) -> None:
        """It has its lease. ``service``: how long its exchange will take, if that is known."""
        of_model, of_caller = self.models[model], self.callers[caller]
        of_model.served += 1
        of_caller.served += 1
        self._at.append(arrived)
        self._wait.append(now - arrived)
        self._model.append(of_model.index)
        self._caller.append(of_caller.index)
        self._service.append(service)
        self._unused.pop(generation, None)
        if not self._leases:
            self._serving_since = now
        self._leases += 1

    def ended_exchange(self, model: str, caller: str, granted: float, now: float) -> None:
        """Its exchange is over."""
        self._leases -= 1
        if not self._leases:
            self.serving += now - self._serving_since
        for account in (self.models[model], self.callers[caller]):
            account.service += now - granted
            account.leave(now)

    def refused_one(self, model: str, caller: str, refusal: Refusal, now: float) -> None:
        """It ended without a lease."""
        self.refusals[refusal] += 1
        for account in (self.models[model], self.callers[caller]):
            account.refused += 1
            account.missed += refusal is Refusal.TIMED_OUT
            account.leave(now)

    def left(self, model: str, caller: str, now: float) -> None:
        """Its client did not wait any longer."""
        for account in (self.models[model], self.callers[caller]):
            account.left += 1
            account.leave(now)

    def started(self, model: str, generation: int) -> None:
        """A load has begun."""
        self.starts += 1
        self.models[model].starts += 1
        self._unused[generation] = model

    def exited(self, model: str, generation: int) -> None:
        """A generation has ended."""
        if self._unused.pop(generation, None) is not None:
            self.wasted += 1
            self.models[model].wasted += 1

    def complain(self, text: str) -> None:
        """The policy or the eviction rule has made a mistake."""
        if len(self.complaints) < COMPLAINTS:
            self.complaints.append(text)

    def close(self, now: float) -> None:
        """The run is over at ``now``; what goes on then is counted up to there."""
        self.ended = now
        if self._leases:
            self.serving += now - self._serving_since
        for account in (*self.models.values(), *self.callers.values()):
            if account.open:
                account.present += now - account.since
        for generation, model in list(self._unused.items()):
            self.exited(model, generation)

    # Read afterwards.

    @property
    def refused(self) -> int:
        """Requests that ended without a lease, by the core's word."""
        return sum(self.refusals.values())

    @property
    def serving_now(self) -> int:
        """Requests whose exchange went on at the end."""
        return self._leases

    @property
    def span(self) -> float:
        """From the first arrival to the end."""
        return self.ended - (self.began or 0.0)

    @property
    def share(self) -> float:
        """Of the span, how much at least one model was serving."""
        return self.serving / self.span if self.span > 0 else 0.0

    @property
    def jain(self) -> float | None:
        """Jain's index over callers: 1 if all get the same, 1/n if one of n gets everything.

        Of each caller, the seconds of service for each second in which he had a request in the system.
        """
        rates = [account.service / account.present for account in self.callers.values() if account.present > 0]
        return jain(rates)

    @property
    def waits(self) -> list[tuple[str, float, float]]:
        """Model, arrival, wait, in the order of the grants; made anew each time."""
        names = list(self.models)
        return [(names[model], at, wait) for model, at, wait in zip(self._model, self._at, self._wait, strict=True)]

    @property
    def served(self) -> list[tuple[str, float, float]]:
        """Caller, time of the grant, service, in the order of the grants; made anew each time."""
        names = list(self.callers)
        columns = zip(self._caller, self._at, self._wait, self._service, strict=True)
        return [(names[caller], at + wait, service) for caller, at, wait, service in columns]

    def of(self, model: str | None = None, since: float = 0.0, until: float = float("inf")) -> list[float]:
        """Waits of requests for a model that arrived in this span, sorted."""
        found = (wait for name, at, wait in self.waits if model in (None, name) and since <= at < until)
        return sorted(found)

    def summary(self) -> "Waits":
        """The waits of all requests."""
        return Waits.of(self._wait)

    def by_model(self) -> dict[str, "Waits"]:
        """The waits of each model."""
        return self._split(self._model, self.models)

    def by_caller(self) -> dict[str, "Waits"]:
        """The waits of each caller."""
        return self._split(self._caller, self.callers)

    def _split(self, indexes: "array[int]", accounts: Accounts) -> dict[str, "Waits"]:
        parts: list[array[float]] = [array("d") for _ in accounts]
        for index, wait in zip(indexes, self._wait, strict=True):
            parts[index].append(wait)
        return {name: Waits.of(part) for name, part in zip(accounts, parts, strict=True)}


@dataclass(frozen=True, slots=True)
class Waits:
    """How long requests waited, in seconds; None if there is none. Percentiles by nearest rank."""

    mean: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    worst: float | None = None

    @classmethod
    def of(cls, waits: Iterable[float]) -> "Waits":
        """Of waits in any order."""
        ordered = sorted(waits)
        if not ordered:
            return cls()
        p50, p95, p99 = (percentile(ordered, share) for share in (0.5, 0.95, 0.99))
        return cls(sum(ordered) / len(ordered), p50, p95, p99, ordered[-1])


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all (0 to 1) do not exceed. ``ordered`` is not empty."""
    return ordered[max(0, math.ceil(len(ordered) * share - 1e-9) - 1)]


def jain(rates: Sequence[float]) -> float | None:
    """The square of the sum over n times the sum of squares; None without anybody who got anything."""
    squares = sum(rate * rate for rate in rates)
    return sum(rates) ** 2 / (len(rates) * squares) if squares > 0 else None
