"""What can happen: the only way anything reaches the scheduler core. Past tense; mirror: ``effects.py``.

Times are seconds of the monotonic clock of this machine, the same that ``Core.handle`` gets as ``now``.
Whoever creates one says so in its docstring. Changing this file is a commit of its own, with
``design.md`` and its playbook tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protocol.ids import CallId, LeaseId, ModelId, WorkerId


@dataclass(frozen=True, slots=True)
class RequestArrived:
    """A worker asks for a lease (worker socket). ``deadline``: when the caller stops waiting."""

    call: CallId
    model: ModelId
    worker: WorkerId
    caller: str = ""
    deadline: float | None = None
    wants_progress: bool = False


@dataclass(frozen=True, slots=True)
class RequestAbandoned:
    """The caller has gone (worker socket). After the grant it ends the lease."""

    call: CallId


@dataclass(frozen=True, slots=True)
class LeaseReleased:
    """An exchange has ended (worker socket)."""

    lease: LeaseId
    last_used: float


@dataclass(frozen=True, slots=True)
class ExchangesReported:
    """Exchanges of parked leases that went without a question (worker socket). Service times in seconds."""

    model: ModelId
    generation: int
    count: int
    service_times: tuple[float, ...]
    last_used: float


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker process has exited (worker slots): its leases end, its calls are abandoned."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class ModelReady:
    """A probe was answered while our child lives (model process)."""

    model: ModelId
    generation: int


@dataclass(frozen=True, slots=True)
class ModelStartFailed:
    """The start will not succeed (model process); ``ModelExited`` follows when the process is gone."""

    model: ModelId
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class ModelExited:
    """The end of a generation, exactly one each, also when spawning failed (model process)."""

    model: ModelId
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class StopOverdue:
    """The process lives on after SIGKILL (model process): a driver holds it."""

    model: ModelId
    generation: int
    pid: int


@dataclass(frozen=True, slots=True)
class LoadAsked:
    """Somebody wants a model ready without using it (control socket, preload)."""

    call: CallId
    model: ModelId


@dataclass(frozen=True, slots=True)
class UnloadAsked:
    """Stop these models, or all (control socket). ``drain``: refuse nobody and wait for the leases."""

    call: CallId
    models: tuple[ModelId, ...] | None = None
    drain: bool = False


@dataclass(frozen=True, slots=True)
class ResetAsked:
    """Forget a model's failures (control socket)."""

    call: CallId
    model: ModelId


@dataclass(frozen=True, slots=True)
class RulesChanged:
    """A reload (supervisor). ``rules`` is a ``state.Rules``; ``changed`` models must restart to follow it."""

    rules: Any
    changed: frozenset[ModelId] = frozenset()
    drain_timeout: float = 300.0


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """The time of the last ``WakeAt`` has come (loop)."""


@dataclass(frozen=True, slots=True)
class ShutdownAsked:
    """End everything within ``grace`` seconds (signals). A second one may only shorten it."""

    call: CallId
    grace: float


Event = (
    RequestArrived
    | RequestAbandoned
    | LeaseReleased
    | ExchangesReported
    | WorkerLost
    | ModelReady
    | ModelStartFailed
    | ModelExited
    | StopOverdue
    | LoadAsked
    | UnloadAsked
    | ResetAsked
    | RulesChanged
    | DeadlineReached
    | ShutdownAsked
)

Snapshot = Mapping[str, Any]
"""Plain values only (numbers, text, lists, dicts with text keys): what ``snapshot()`` returns."""
