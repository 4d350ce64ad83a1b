"""Recordings without a supervisor: a core's events, written as the supervisor writes them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from protocol.recording import Ended, encode
from supervisor.recording.lines import beginning, happening
from supervisor.recording.veil import Veil
from supervisor.scheduler.core import Core
from supervisor.scheduler.effects import Effect
from supervisor.scheduler.events import Event


class Tape:
    """Everything that reaches ``core`` from now on; ``config`` is what is in force."""

    def __init__(self, core: Core, now: float, config: Callable[[], dict[str, Any]], veil: Veil | None = None) -> None:
        self._config = config
        self._veil = veil
        self._now = now
        self.lines = [beginning("i", now, config(), core.snapshot(), veil, parking=core.board.rules.parking)]

    def take(self, event: Event, now: float, effects: Sequence[Effect] | None) -> None:
        self._now = now
        self.lines.append(happening(event, now, effects, self._config, self._veil))

    def write(self, path: Path) -> Path:
        """The file, complete."""
        end = Ended(at=self._now, why="stopped", text="as asked", events=len(self.lines) - 1)
        path.write_bytes(b"".join([*self.lines, encode(end)]))
        return path
