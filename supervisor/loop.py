"""The shell around the scheduler core: one inbox, one event at a time, effects carried out in order.

``post`` is the only way in, for sockets, processes, timers and signals alike. It handles the event before it
returns, unless another one is being handled: then it waits its turn in the inbox. Only carrying out effects
can do that, so the inbox is bounded by what one event's effects bring about.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence

import trio

from supervisor import clock
from supervisor.scheduler.core import Core
from supervisor.scheduler.effects import Effect, WakeAt
from supervisor.scheduler.events import DeadlineReached, Event
from supervisor.scheduler.phases import IllegalTransition

log = logging.getLogger("swapyard.scheduler")

Observer = Callable[[Event, Sequence[Effect]], None]
Record = Callable[[Event, float, Sequence[Effect] | None], None]
"""Takes each event, the time that the core got, and its effects; None: the phase table forbids the event."""


class Loop:
    """Feeds ``core`` and hands every effect but ``WakeAt`` to ``perform``."""

    def __init__(self, core: Core, observers: Sequence[Observer] = ()) -> None:
        """``observers`` see each event with its effects after they were carried out (status, invariants)."""
        self._core = core
        self._observers = observers
        self._inbox: deque[Event] = deque()
        self._handling = False
        self._wake: float | None = None
        self._sleep: trio.CancelScope | None = None
        self.perform: Callable[[Effect], None] = _nobody
        self.record: Record | None = None
        """Set while a recording is under way (``recording/recorder.py``)."""

    def post(self, event: Event) -> None:
        """Hand over an event; from any synchronous code on the trio thread."""
        self._inbox.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._inbox:
                self._handle(self._inbox.popleft())
        finally:
            self._handling = False

    def _handle(self, event: Event) -> None:
        log.debug("%s", event)
        now = clock.now()
        try:
            effects = self._core.handle(event, now)
        except IllegalTransition as error:
            log.error("ignored %s: %s", event, error)  # noqa: TRY400 (a line says all there is)
            if self.record is not None:
                self.record(event, now, None)
            return
        for effect in effects:
            if isinstance(effect, WakeAt):
                self._set_wake(effect.when)
            else:
                self.perform(effect)
        for observer in self._observers:
            observer(event, effects)
        if self.record is not None:
            self.record(event, now, effects)

    def _set_wake(self, when: float | None) -> None:
        self._wake = when
        if self._sleep is not None:
            self._sleep.deadline = _trio_time(when)

    async def run_timer(self) -> None:
        """Post ``DeadlineReached`` whenever the core asked to be woken."""
        while True:
            with trio.CancelScope(deadline=_trio_time(self._wake)) as self._sleep:
                await trio.sleep_forever()
            self._sleep = None
            if self._wake is not None and self._wake <= clock.now():
                self._wake = None
                self.post(DeadlineReached())


def _trio_time(when: float | None) -> float:
    return float("inf") if when is None else trio.current_time() + max(0.0, when - clock.now())


def _nobody(effect: Effect) -> None:
    raise RuntimeError(f"nobody carries out {effect}")
