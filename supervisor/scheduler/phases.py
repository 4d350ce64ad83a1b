"""The life of one model, as a table: ``TABLE[phase][cause]`` is the next phase.

A cause is the class of an event, of an effect, or of one of the decisions below. A pair that is not in the
table is an ``IllegalTransition`` and changes nothing; results that can come late have explicit rows that
lead back to where they start. The diagram in ``design.md`` is drawn from this table (``diagram``).
Read and obeyed by ``core.py`` alone.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from supervisor.scheduler.effects import StartModel, StopModel
from supervisor.scheduler.events import ModelExited, ModelReady, ModelStartFailed, StopOverdue


class Phase(StrEnum):
    """Where a model stands."""

    STOPPED = "stopped"
    MAKING_ROOM = "making_room"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    STUCK = "stuck"
    BACKING_OFF = "backing_off"


class RoomNeeded:
    """Decision: victims of this model's plan have to stop first."""


class PlanGivenUp:
    """Decision: the plan cannot or need not go on; victims already stopping finish."""


class DrainBegun:
    """Decision: no more grants; it stops when the last lease has ended."""


class DrainEnded:
    """Decision: what it drained for is over; it serves again."""


class PauseBegun:
    """Decision: it failed; no start before the pause is over."""


class PauseEnded:
    """Decision: the pause is over, or somebody reset it."""


class IllegalTransition(Exception):
    """A cause met a phase that it has no row in. Nothing has changed."""

    def __init__(self, phase: Phase, cause: type) -> None:
        super().__init__(f"{cause.__name__} has no row in phase {phase}")
        self.phase = phase
        self.cause = cause


TABLE: Mapping[Phase, Mapping[type, Phase]] = MappingProxyType(
    {
        Phase.STOPPED: {
            RoomNeeded: Phase.MAKING_ROOM,
            StartModel: Phase.STARTING,
            PauseBegun: Phase.BACKING_OFF,
        },
        Phase.MAKING_ROOM: {
            StartModel: Phase.STARTING,
            PlanGivenUp: Phase.STOPPED,
        },
        Phase.STARTING: {
            ModelReady: Phase.READY,
            ModelStartFailed: Phase.STOPPING,
            ModelExited: Phase.STOPPED,
            StopModel: Phase.STOPPING,
        },
        Phase.READY: {
            DrainBegun: Phase.DRAINING,
            StopModel: Phase.STOPPING,
            ModelExited: Phase.STOPPED,
        },
        Phase.DRAINING: {
            DrainEnded: Phase.READY,
            StopModel: Phase.STOPPING,
            ModelExited: Phase.STOPPED,
        },
        Phase.STOPPING: {
            ModelExited: Phase.STOPPED,
            StopOverdue: Phase.STUCK,
            ModelReady: Phase.STOPPING,
            ModelStartFailed: Phase.STOPPING,
        },
        Phase.STUCK: {
            ModelExited: Phase.STOPPED,
            StopOverdue: Phase.STUCK,
        },
        Phase.BACKING_OFF: {
            PauseEnded: Phase.STOPPED,
        },
    }
)

RUNNING = frozenset({Phase.STARTING, Phase.READY, Phase.DRAINING, Phase.STOPPING, Phase.STUCK})
"""Phases in which a process exists or is being made."""


def next_phase(phase: Phase, cause: type) -> Phase:
    """The phase after ``cause``; ``IllegalTransition`` if the table has no such row."""
    try:
        return TABLE[phase][cause]
    except KeyError:
        raise IllegalTransition(phase, cause) from None


def diagram() -> str:
    """The table as a Mermaid state diagram; rows that lead back to their own phase are left out."""
    lines = ["stateDiagram-v2", "    [*] --> stopped"]
    lines += [
        f"    {phase} --> {after}: {cause.__name__}"
        for phase, row in TABLE.items()
        for cause, after in row.items()
        if after is not phase
    ]
    return "\n".join(lines)
