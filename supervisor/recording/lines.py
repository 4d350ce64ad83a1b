"""The lines of a recording (``protocol/recording.py``) from what the scheduler has: its state, its events, its effects.

Pure but for the date. Called by ``recorder.py``, and by the tests that record without a supervisor.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from protocol.recording import Begun, Happened, encode
from supervisor.recording.veil import Veil
from supervisor.scheduler.effects import Effect
from supervisor.scheduler.events import Event, RulesChanged, Snapshot


def beginning(
    instance: str,
    now: float,
    config: dict[str, Any],
    snapshot: Snapshot,
    veil: Veil | None,
    *,
    parking: bool = True,
) -> bytes:
    """The first line. Raises ``TypeError`` for accounts of a policy that are no plain values."""
    if veil is not None:
        config, snapshot = veil.config(config), veil.snapshot(snapshot)
    return encode(
        Begun(
            at=now,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            instance=instance,
            hashed=veil is not None,
            config=config,
            snapshot=dict(snapshot),
            parking=parking,
        )
    )


def happening(
    event: Event,
    now: float,
    effects: Sequence[Effect] | None,
    config: Callable[[], dict[str, Any]],
    veil: Veil | None,
) -> bytes:
    """One event. ``effects`` None: the phase table forbids it; ``config``: in force after a ``RulesChanged``."""
    done = effects or ()
    if veil is not None:
        event, done = veil.event(event), veil.effects(done)
    fields: Any = event
    if isinstance(event, RulesChanged):
        new = config()
        fields = {
            "config": new if veil is None else veil.config(new),
            "changed": sorted(event.changed),
            "drain_timeout": event.drain_timeout,
        }
    return encode(
        Happened(
            at=now,
            event=type(event).__name__,
            fields=fields,
            effects=[(type(effect).__name__, effect) for effect in done],
            ignored=effects is None,
        )
    )
