"""What workers say, as events; what the core decides for them, as messages.

Resolves names at ``Acquire``, because names may come to depend on state. Keeps nothing but the name each
waiting call used, and since when. Mirror: ``gateway/leases.py``; the wire itself is ``protocol/worker_hub.py``.
"""

import logging
from collections.abc import Callable

from protocol import messages as wire
from protocol.control import Failed, Record, Reply
from protocol.errors import PeerError
from protocol.ids import CallId, ModelId, Refusal, WorkerId
from protocol.reports import outcomes
from supervisor import clock
from supervisor.questions import Questions
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev

log = logging.getLogger("swapyard.workers")


class WorkerSocket:
    """``send`` puts a message to a worker on the wire; ``resolve`` turns a name into a model id.

    ``loading``: seconds that a request which came at a time waited for the start of its model.
    """

    def __init__(
        self,
        *,
        post: Callable[[ev.Event], None],
        resolve: Callable[[str], ModelId | None],
        upstream: Callable[[ModelId, int], str],
        loading: Callable[[ModelId, float], float],
        adopted: Callable[[WorkerId, int], None],
        questions: Questions,
        revision: Callable[[], int],
    ) -> None:
        self._post = post
        self._resolve = resolve
        self._upstream = upstream
        self._loading = loading
        self._adopted = adopted
        self._questions = questions
        self._revision = revision
        self._asked: dict[CallId, tuple[str, float]] = {}
        """The name that each waiting call used, and when it came."""
        self.send: Callable[[WorkerId, wire.FromSupervisor], None] = _nowhere
        self.outcomes = 0
        self.lost_outcomes = 0

    def received(self, worker: WorkerId, message: wire.FromWorker) -> None:
        """One message of a worker that has said a good ``Hello``."""
        match message:
            case wire.Acquire():
                self._acquire(worker, message)
            case wire.Cancel(call=call):
                self._asked.pop(call, None)
                self._post(ev.RequestAbandoned(call))
            case wire.Release(lease=lease, last_used=reading):
                self._post(ev.LeaseReleased(lease, clock.from_wire(reading)))
            case wire.Report():
                self._report(worker, message)
            case wire.Ask(call=call, verb=Record()):
                # It names a file to write: only for those who may open the control socket.
                text = "recordings are made over the control socket"
                self._answer(worker, call, Failed(code="cannot_record", text=text))
            case wire.Ask(call=call, verb=verb):
                self._questions.ask(verb, lambda reply: self._answer(worker, call, reply))
            case wire.CatalogueAdopted(revision=revision):
                self._adopted(worker, revision)
            case _:
                log.debug("%s: %s", worker, message)

    def _acquire(self, worker: WorkerId, message: wire.Acquire) -> None:
        model = self._resolve(message.name)
        if model is None:
            text = f"there is no model {message.name!r}"
            self.send(worker, wire.Refused(call=message.call, refusal=Refusal.UNKNOWN_MODEL, text=text))
            return
        now = clock.now()
        self._asked[message.call] = message.name, now
        deadline = None if message.deadline_in is None else now + message.deadline_in
        self._post(
            ev.RequestArrived(message.call, model, worker, message.caller, deadline, message.wants_progress),
        )

    def _report(self, worker: WorkerId, report: wire.Report) -> None:
        """Exchanges on leases that are not parkable are known from their leases; the others only from here."""
        self.outcomes += report.count
        if report.lost:
            self.lost_outcomes += report.lost
            log.warning("%s dropped the outcomes of %d exchanges, because nobody read them", worker, report.lost)
        for used in report.exchanges:
            last_used = clock.from_wire(used.last_used)
            self._post(
                ev.ExchangesReported(used.model, used.generation, len(used.service), used.service, last_used),
            )
        if log.isEnabledFor(logging.DEBUG):
            self._tell(worker, report)

    def _tell(self, worker: WorkerId, report: wire.Report) -> None:
        try:
            for row in outcomes(report):
                log.debug("%s", row)
        except PeerError as error:
            log.warning("%s sent outcomes that cannot be read: %s", worker, error)

    def _answer(self, worker: WorkerId, call: CallId, reply: Reply) -> None:
        self.send(worker, wire.Answer(call=call, reply=reply))

    def granted(self, effect: do.Grant) -> None:
        """The core gave a lease."""
        name, since = self._asked.pop(effect.call, (str(effect.model), clock.now()))
        self.send(
            effect.worker,
            wire.Granted(
                call=effect.call,
                lease=effect.lease,
                model=effect.model,
                generation=effect.generation,
                upstream=self._upstream(effect.model, effect.generation),
                effective_name=name,
                parkable=effect.parkable,
                revision=self._revision(),
                loading=self._loading(effect.model, since),
            ),
        )

    def refused(self, effect: do.Refuse) -> None:
        """The core gave none."""
        self._asked.pop(effect.call, None)
        self.send(
            effect.worker,
            wire.Refused(call=effect.call, refusal=effect.refusal, text=effect.text, retry_after=effect.retry_after),
        )

    def lost(self, worker: WorkerId) -> None:
        """A worker has exited: nothing of it remains."""
        self._asked = {call: asked for call, asked in self._asked.items() if f"/{worker}/" not in call}
        self._post(ev.WorkerLost(worker))


def _nowhere(worker: WorkerId, message: wire.FromSupervisor) -> None:
    raise RuntimeError(f"no socket for {message} to {worker}")
