"""What ``swapctl status``, ``queue`` and ``explain`` show: a reading of the board, the processes and the slots.

Changes nothing. Called by ``questions.py``.
"""

import itertools
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from config.types import ModelSettings, Settings
from protocol.control import (
    BlockerRow,
    ExplainReply,
    Failed,
    ModelStatus,
    QueueReply,
    QueueRow,
    WorkerStatus,
)
from protocol.ids import CallId, ModelId, WorkerId
from supervisor import clock
from supervisor.scheduler import explain
from supervisor.scheduler.board import Board
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.state import NEVER, Lease, ModelState, Waiter

MOST_ROWS = 1000
"""Waiting requests in one reply; the rest are counted."""


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
    rows: Sequence[WorkerStatus],
    board: Board,
    identity: Callable[[int], WorkerId | None],
    received: Callable[[WorkerId], int],
) -> tuple[WorkerStatus, ...]:
    """Worker rows with what the scheduler and the socket know of them; ``identity`` gives the worker of a slot."""
    return tuple(_counted(row, board, identity(row.slot), received) for row in rows)


def _counted(
    row: WorkerStatus, board: Board, worker: WorkerId | None, received: Callable[[WorkerId], int]
) -> WorkerStatus:
    return WorkerStatus(
        slot=row.slot,
        pid=row.pid,
        uptime=row.uptime,
        restarts=row.restarts,
        leases=sum(1 for lease in board.leases.values() if lease.worker == worker),
        waiting=sum(1 for waiter in board.waiters.values() if waiter.worker == worker),
        messages=received(worker) if worker is not None else 0,
    )


def queue(board: Board) -> QueueReply:
    """The oldest waiting requests."""
    now = clock.now()
    rows: list[QueueRow] = []
    lines: dict[ModelId, _Line] = {}
    for waiter in itertools.islice(board.waiters.values(), MOST_ROWS):
        line = lines.get(waiter.model) or lines.setdefault(waiter.model, _line(board, waiter.model, now))
        rows.append(_queue_row(waiter, line, now))
    return QueueReply(rows=tuple(rows), total=len(board.waiters))


@dataclass(slots=True)
class _Line:
    """The queue of one model. ``blockers``: the same for all who stand in it."""

    phase: str
    blockers: tuple[explain.Blocker, ...]
    estimates: Iterator[float]
    passed: int = 0


def _line(board: Board, name: ModelId, now: float) -> _Line:
    model = board.models[name]
    return _Line(str(model.phase), explain.blockers(board, model, now), explain.estimates(board, model, now))


def explained(board: Board, text: str) -> ExplainReply | Failed:
    """What the call of this id, or of this ending, waits for."""
    now = clock.now()
    calls: list[CallId] = [call for call in (*board.waiters, *board.lease_of) if call == text]
    calls = calls or [call for call in (*board.waiters, *board.lease_of) if call.endswith(f"/{text}")]
    if len(calls) != 1:
        what = "there is no call" if not calls else f"{len(calls)} calls end in"
        return Failed(code="unknown_call", text=f"{what} {text!r}; 'swapctl queue' lists who waits")
    waiter = board.waiters.get(calls[0])
    if waiter is None:
        lease = board.leases[board.lease_of[calls[0]]]
        return ExplainReply(row=_granted_row(board, lease, now), lease=lease.id)
    line = _line(board, waiter.model, now)
    rows = [_queue_row(each, line, now) for each in board.models[waiter.model].waiting.values()]
    blockers = tuple(
        BlockerRow(
            kind=str(found.kind),
            model=found.model,
            text=found.text,
            left=None if found.until is None else max(0.0, found.until - now),
        )
        for found in line.blockers
    )
    return ExplainReply(row=next(row for row in rows if row.call == waiter.call), blockers=blockers)


def _queue_row(waiter: Waiter, line: _Line, now: float) -> QueueRow:
    """The next one in the line."""
    line.passed += 1
    first = line.blockers[0]
    return QueueRow(
        call=waiter.call,
        model=waiter.model,
        phase=line.phase,
        caller=waiter.caller,
        position=line.passed,
        waited=now - waiter.arrived,
        left=None if waiter.deadline == NEVER else max(0.0, waiter.deadline - now),
        estimate=next(line.estimates),
        waits_for=f"{first.kind} of {first.model}: {first.text}",
    )


def _granted_row(board: Board, lease: Lease, now: float) -> QueueRow:
    phase = str(board.models[lease.model].phase)
    return QueueRow(call=lease.call, model=lease.model, phase=phase, waited=now - lease.granted)
