"""Carrying out the core's effects: one ``match``, nothing else. Mirror: ``scheduler/effects.py``."""

import logging
from collections.abc import Callable

from protocol import messages as wire
from protocol.ids import WorkerId
from supervisor.processes import Processes
from supervisor.questions import Questions
from supervisor.scheduler import effects as do
from supervisor.worker_socket import WorkerSocket

log = logging.getLogger("swapyard.scheduler")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Performer:
    """Called by ``loop.py`` for each effect, in order; never blocks."""

    def __init__(self, processes: Processes, workers: WorkerSocket, questions: Questions) -> None:
        self._processes = processes
        self._workers = workers
        self._questions = questions

    def __call__(self, effect: do.Effect) -> None:  # noqa: C901 (one row for each effect)
        send: Callable[[WorkerId, wire.FromSupervisor], None] = self._workers.send
        match effect:
            case do.Grant():
                self._workers.granted(effect)
            case do.Refuse():
                self._workers.refused(effect)
            case do.StartModel(model, generation):
                self._processes.start(model, generation)
            case do.StopModel(model, generation, reason):
                self._processes.stop(model, generation, reason)
            case do.Recall(worker, model, generation, count):
                send(worker, wire.Recall(model=model, generation=generation, count=count))
            case do.Cut(worker, lease):
                send(worker, wire.Cut(lease=lease))
            case do.ReportProgress(call, worker, phase, position, estimate):
                send(worker, wire.Progress(call=call, phase=phase, position=position, estimate=estimate))
            case do.Answer(call, refusal, text):
                self._questions.answered(call, refusal, text)
            case do.Note(text, level):
                log.log(_LEVELS[level], "%s", text)
            case do.WakeAt():
                raise RuntimeError("the loop keeps the timer")
