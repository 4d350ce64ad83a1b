"""The life of model processes: ready, failed, exited, stuck; back-off and time to live.

Takes in what ``supervisor/process/model.py`` reports. A result of an older generation moves nobody; a
generation ends with exactly one exit, which ends all its leases. Called by ``core.py``.
"""

import itertools

from protocol.ids import ModelId, Refusal
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.phases import PauseBegun, PauseEnded, Phase
from supervisor.scheduler.state import NEVER, ModelState
from supervisor.scheduler.steps import Steps
from supervisor.scheduler.timers import Timer


class Life:
    """Handlers of process events and of the timers that go with them."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._board = steps.board
        self._timers = steps.timers

    def ready(self, event: ev.ModelReady) -> None:
        """It serves from now on; loads that waited are answered."""
        model = self._current(event.model, event.generation)
        if model is None:
            return
        was = model.phase
        self._steps.move(model, ev.ModelReady)
        if was is not Phase.STARTING:
            return
        now = self._steps.now
        model.ready_at = now
        model.last_swap_time = now - model.wanted_at
        model.swap.learn(model.last_swap_time)
        self._steps.accounts.swapped(model)
        self._steps.note(f"{model.id}: ready after {model.last_swap_time:.2f} s")
        self._steps.answer_loads(model)
        model.owed = dict.fromkeys(itertools.islice(model.waiting, model.rule.limit))
        self._steps.watch_ttl(model)

    def start_failed(self, event: ev.ModelStartFailed) -> None:
        """The start will not succeed; its waiters are refused."""
        model = self._current(event.model, event.generation)
        if model is None:
            return
        was = model.phase
        self._steps.move(model, ev.ModelStartFailed)
        if was is Phase.STARTING:
            self._start_failed(model, event.reason)

    def exited(self, event: ev.ModelExited) -> None:
        """The end of a generation."""
        model = self._current(event.model, event.generation)
        if model is None:
            return
        was, ready_at = model.phase, model.ready_at
        self._steps.move(model, ev.ModelExited)
        # What is parked would be used again for a process that is gone, perhaps on a port that is another's soon.
        self._steps.recall(model)
        for lease in list(model.leases.values()):
            self._steps.end_lease(lease, self._steps.now)
        if was is Phase.STARTING:
            self._start_failed(model, event.reason)
        elif not model.stop_asked:
            model.failures.exited(event.reason, self._steps.now, ready_at if ready_at is not None else self._steps.now)
            self._steps.note(f"{model.id}: {event.reason}, unasked", "warning")
        else:
            self._steps.note(f"{model.id}: stopped")
        model.ready_at = None
        model.stuck_pid = None
        model.owed.clear()
        self._steps.forget_if_retired(model)
        self._pause_if_due(model)

    def overdue(self, event: ev.StopOverdue) -> None:
        """It survived SIGKILL."""
        model = self._current(event.model, event.generation)
        if model is None:
            return
        self._steps.move(model, ev.StopOverdue)
        model.stuck_pid = event.pid
        self._steps.note(self._steps.pid_text(model.id), "error")
        self._steps.refuse_all(model, Refusal.STUCK, self._steps.pid_text(model.id))

    def reset_asked(self, event: ev.ResetAsked) -> None:
        """Forget its failures and its pause."""
        model = self._board.models.get(event.model)
        if model is None:
            self._steps.answer(event.call, Refusal.UNKNOWN_MODEL, "there is no such model")
            return
        model.failures.clear()
        if model.phase is Phase.BACKING_OFF:
            self._steps.move(model, PauseEnded)
        self._steps.answer(event.call)

    def ttl_due(self, model: ModelState) -> None:
        """Stop it if it has been idle long enough."""
        model.ttl_timer = NEVER
        if model.phase is not Phase.READY or model.rule.ttl <= 0:
            return
        if model.leases:
            self._ttl_of_parked(model)
        elif model.waiting:
            return
        elif self._steps.idle_since(model) + model.rule.ttl <= self._steps.now:
            self._steps.note(f"{model.id}: idle for {model.rule.ttl:g} s")
            self._steps.stop(model, do.StopReason.TTL)
        else:
            self._steps.watch_ttl(model)

    def _ttl_of_parked(self, model: ModelState) -> None:
        """Idle leases in a worker's keeping do not hold a model that nobody uses."""
        if sum(model.parking.reusable.values()) < len(model.leases):
            return
        if self._steps.idle_since(model) + model.rule.ttl <= self._steps.now:
            self._steps.note(f"{model.id}: idle for {model.rule.ttl:g} s, its parked leases are asked back")
            self._steps.recall(model)
        else:
            self._steps.watch_ttl(model)

    def pause_due(self, model: ModelState) -> None:
        """It may be tried again."""
        if model.phase is Phase.BACKING_OFF and model.failures.paused_until <= self._steps.now:
            self._steps.move(model, PauseEnded)

    def _start_failed(self, model: ModelState, reason: str) -> None:
        now = self._steps.now
        model.failures.start_failed(reason, now)
        model.stop_asked = True
        self._steps.note(f"{model.id}: start failed: {reason}", "warning")
        text = f"model {model.id!r} did not start: {reason}"
        self._steps.refuse_all(model, Refusal.START_FAILED, text, model.failures.paused_until - now)

    def _pause_if_due(self, model: ModelState) -> None:
        if model.phase is Phase.STOPPED and model.failures.paused_until > self._steps.now:
            self._steps.move(model, PauseBegun)
            self._timers.set(model.failures.paused_until, Timer.PAUSE, model.id)
            refusal, text, left = self._steps.backing_off(model)
            self._steps.refuse_all(model, refusal, text, left)

    def _current(self, name: ModelId, generation: int) -> ModelState | None:
        """The model, if the generation is the one that lives; a result of an older one moves nobody."""
        model = self._board.models.get(name)
        if model is None or model.generation != generation:
            self._steps.note(f"{name}: late result of generation {generation}", "debug")
            return None
        return model
