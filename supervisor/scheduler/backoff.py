"""How a model that fails is held back (design.md, *Failure*). Pure arithmetic; kept by ``core.py`` per model.

The first exit of a model that had been ready costs nothing. A failed start, or an exit within
``SETTLED`` seconds of ready that follows another failure, costs a pause of 1, 2, 4 … ``LONGEST`` seconds.
``SETTLED`` seconds of being ready, or a reset, clears the account.
"""

from dataclasses import dataclass

SETTLED = 60.0
LONGEST = 60.0


@dataclass(slots=True)
class FailureAccount:
    """The failures of one model since it last was settled. Times in seconds."""

    failures: int = 0
    pauses: int = 0
    paused_until: float = 0.0
    last_reason: str = ""

    def start_failed(self, reason: str, now: float) -> None:
        """A start that did not reach ready."""
        self._fail(reason)
        self._pause(now)

    def exited(self, reason: str, now: float, ready_at: float) -> None:
        """An exit that nobody asked for, of a model ready since ``ready_at``."""
        if now - ready_at >= SETTLED:
            self.clear()
        follows_another = self.failures > 0
        self._fail(reason)
        if follows_another:
            self._pause(now)

    def clear(self) -> None:
        """Forget everything but the last reason, which people still want to read."""
        self.failures = 0
        self.pauses = 0
        self.paused_until = 0.0

    def _fail(self, reason: str) -> None:
        self.failures += 1
        self.last_reason = reason

    def _pause(self, now: float) -> None:
        self.paused_until = now + min(LONGEST, 2.0**self.pauses)
        self.pauses += 1
