"""How long things take, learned from what happened, and how long a request will wait, estimated from that.

Moving averages only: an estimate is for people and for ``Retry-After``, no decision of the core depends on
it. Kept per model on the board (``state.py``); read by ``requests.py`` and ``explain.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

WEIGHT = 0.2
"""What a new sample counts; the first one counts in full."""
LATEST = 50
"""Samples of a batch that are looked at: what lies further back would count for less than 1 in 50,000."""
UNKNOWN_SERVICE = 1.0
"""Seconds, until an exchange has been seen."""


@dataclass(slots=True)
class Learned:
    """A moving average of durations in seconds."""

    mean: float = 0.0
    samples: int = 0

    def learn(self, seconds: float) -> None:
        """Take in one sample."""
        self.samples += 1
        self.mean += (max(0.0, seconds) - self.mean) * (WEIGHT if self.samples > 1 else 1.0)

    def learn_all(self, seconds: Sequence[float]) -> None:
        """Take in a batch, the latest last."""
        for one in seconds[-LATEST:]:
            self.learn(one)
        self.samples += max(0, len(seconds) - LATEST)

    def or_else(self, seconds: float) -> float:
        """The average, or this if nothing was learned yet."""
        return self.mean if self.samples else seconds


def wait(*, start: float, ahead: int, limit: int, service: float) -> float:
    """Seconds until a request gets its lease.

    ``start``: until the model is ready; ``ahead``: leases and waiting requests before it; ``limit``: most
    leases at once; ``service``: seconds of one exchange. Leases end evenly spread over the service time.
    """
    return start + max(0, ahead + 1 - limit) * service / max(1, limit)
