"""Names that travel between the processes, and the few words both planes share.

Ids of calls and leases carry the supervisor's instance: messages that a worker queued for a former
supervisor arrive at the new one before anything else, and must be told apart.
The scheduler imports this file and nothing else from outside its own folder.
"""

from enum import StrEnum
from typing import NewType

ModelId = NewType("ModelId", str)
"""The key of a model in the configuration; never an alias."""

WorkerId = NewType("WorkerId", str)
"""``slot.pid.random``: the ZeroMQ identity of one worker process."""

CallId = NewType("CallId", str)
"""``instance/worker/number``: one question of a worker or of a control client."""

LeaseId = NewType("LeaseId", str)
"""``instance/L<number>``: permission for one exchange with one generation of a model."""


def call_id(instance: str, asker: str, number: int) -> CallId:
    """The id of the ``number``-th call of ``asker`` (a worker or a control client) to ``instance``."""
    return CallId(f"{instance}/{asker}/{number}")


def lease_id(instance: str, number: int) -> LeaseId:
    """The id of the ``number``-th lease that ``instance`` granted."""
    return LeaseId(f"{instance}/L{number}")


def instance_of(name: CallId | LeaseId) -> str:
    """The supervisor instance that a call or lease belongs to."""
    return name.partition("/")[0]


class Refusal(StrEnum):
    """Why the scheduler did not grant. ``gateway/refusals.py`` maps each to status, type and code."""

    UNKNOWN_MODEL = "unknown_model"
    OVERLOADED = "overloaded"
    UNLOADED = "unloaded"
    START_FAILED = "start_failed"
    BACKING_OFF = "backing_off"
    STUCK = "stuck"
    IMPOSSIBLE = "impossible"
    TIMED_OUT = "timed_out"
    SHUTTING_DOWN = "shutting_down"
    NOT_BUILT = "not_built"
