"""What ``swapctl status`` and ``/running`` show: a reading of the board, the processes and the worker slots.

Changes nothing. Called by ``questions.py``.
"""

import shlex
from collections.abc import Callable, Sequence

from config.types import ModelSettings, Settings
from protocol.control import ModelStatus, WorkerStatus
from protocol.ids import ModelId
from supervisor import clock
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.state import Board, ModelState


def model_statuses(
    board: Board, settings: Settings, pid: Callable[[ModelId, int], int | None]
) -> tuple[ModelStatus, ...]:
    """One row for each configured model, in configuration order."""
    now = clock.now()
    return tuple(_row(model, settings.models.get(model.id), pid, now) for model in board.models.values())


def _row(
    model: ModelState, settings: ModelSettings | None, pid: Callable[[ModelId, int], int | None], now: float
) -> ModelStatus:
    ready = model.ready_at is not None and model.phase in (Phase.READY, Phase.DRAINING)
    paused = model.phase is Phase.BACKING_OFF
    return ModelStatus(
        id=model.id,
        phase=str(model.phase),
        generation=model.generation or None,
        pid=pid(model.id, model.generation),
        upstream=settings.proxy if settings else "",
        uptime=now - model.ready_at if ready and model.ready_at is not None else None,
        leases=len(model.leases),
        waiting=len(model.waiting),
        limit=model.rule.limit,
        ttl=model.rule.ttl,
        ttl_left=_ttl_left(model, now),
        starts=model.starts,
        last_failure=model.failures.last_reason,
        retry_in=max(0.0, model.failures.paused_until - now) if paused else None,
        name=settings.name if settings else "",
        description=settings.description if settings else "",
        cmd=shlex.join(settings.cmd) if settings else "",
        unlisted=settings.unlisted if settings else False,
    )


def _ttl_left(model: ModelState, now: float) -> float | None:
    if model.phase is not Phase.READY or model.rule.ttl <= 0:
        return None
    if model.busy:
        return model.rule.ttl
    return max(0.0, max(model.last_used, model.ready_at or 0.0) + model.rule.ttl - now)


def with_counts(
    rows: Sequence[WorkerStatus], board: Board, identity: Callable[[int], str | None]
) -> tuple[WorkerStatus, ...]:
    """Worker rows with what the scheduler knows of them; ``identity`` gives the worker of a slot."""
    return tuple(_counted(row, board, identity(row.slot)) for row in rows)


def _counted(row: WorkerStatus, board: Board, worker: str | None) -> WorkerStatus:
    return WorkerStatus(
        slot=row.slot,
        pid=row.pid,
        uptime=row.uptime,
        restarts=row.restarts,
        leases=sum(1 for lease in board.leases.values() if lease.worker == worker),
        waiting=sum(1 for waiter in board.waiters.values() if waiter.worker == worker),
    )
