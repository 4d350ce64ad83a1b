"""What the scheduler core wants done. Imperative; mirror: ``events.py``; done by ``supervisor/perform.py``.

Log lines and timers are effects too, so that tests can assert them. Changing this file is a commit of its
own, with ``design.md`` and its playbook tests.
"""

from dataclasses import dataclass
from enum import StrEnum

from protocol.ids import CallId, LeaseId, ModelId, Refusal, WorkerId


class StopReason(StrEnum):
    """Why a process is stopped."""

    EVICTED = "evicted"
    TTL = "ttl"
    UNLOADED = "unloaded"
    DRAINED = "drained"
    ABORTED = "aborted"
    RELOADED = "reloaded"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class StartModel:
    """Start a new generation; it answers ``ModelReady`` or ``ModelStartFailed``, at last ``ModelExited``."""

    model: ModelId
    generation: int


@dataclass(frozen=True, slots=True)
class StopModel:
    """Stop the process of this generation; it answers ``ModelExited``, before that perhaps ``StopOverdue``."""

    model: ModelId
    generation: int
    reason: StopReason


@dataclass(frozen=True, slots=True)
class Grant:
    """Tell the worker that its call has a lease."""

    call: CallId
    worker: WorkerId
    lease: LeaseId
    model: ModelId
    generation: int
    parkable: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell the worker that its call ends without one. ``retry_after`` in seconds."""

    call: CallId
    worker: WorkerId
    refusal: Refusal
    text: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Recall:
    """Ask a worker to give back parked leases."""

    worker: WorkerId
    model: ModelId
    generation: int
    count: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Make the worker end the exchange of this lease now."""

    worker: WorkerId
    lease: LeaseId


@dataclass(frozen=True, slots=True)
class ReportProgress:
    """Tell a waiting call where it stands."""

    call: CallId
    worker: WorkerId
    phase: str
    position: int
    estimate: float | None = None


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send ``DeadlineReached`` at this time; None: no need. Replaces the one before."""

    when: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of a control question. ``refusal`` is None for success."""

    call: CallId
    refusal: Refusal | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """One line for the log: what was decided, and why."""

    text: str
    level: str = "info"


Effect = StartModel | StopModel | Grant | Refuse | Recall | Cut | ReportProgress | WakeAt | Answer | Note
