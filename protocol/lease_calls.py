"""Questions for leases that are open: each is answered once, by a grant, a refusal, or the end of the talk.

A grant that is ahead of the worker's catalogue is held back until that revision is adopted. A cancelled call
leaves nothing behind: a grant that crosses it is given back. No task and no socket; ``worker_link.py`` owns it.
"""

from collections.abc import Callable

from msgspec.structs import replace

from protocol import messages as wire
from protocol.ids import CallId, LeaseId

LeaseAnswer = wire.Granted | wire.Refused | None
"""None: the conversation has ended, no answer will come."""
LeaseDone = Callable[[LeaseAnswer], None]


class LeaseCalls:
    """``send`` puts a message on the wire; ``release`` ends a lease that nobody takes."""

    def __init__(self, send: Callable[[wire.FromWorker], object], release: Callable[[LeaseId], None]) -> None:
        self._send = send
        self._release = release
        self._open: dict[CallId, LeaseDone] = {}
        self._held_back: dict[CallId, wire.Granted] = {}
        """Grants of open calls that are ahead of the catalogue."""

    def __len__(self) -> int:
        return len(self._open)

    def ask(self, question: wire.Acquire, done: LeaseDone) -> None:
        """``done`` is called once, never before this returns; not at all after ``cancel``."""
        self._send(question)
        self._open[question.call] = done

    def cancel(self, call: CallId) -> None:
        """Nobody waits for this call any more; one that was answered already is left alone."""
        if self._open.pop(call, None) is None:
            return
        granted = self._held_back.pop(call, None)
        if granted is None:
            self._send(wire.Cancel(call=call))
        else:
            self._release(granted.lease)

    def answered(self, answer: wire.Granted | wire.Refused, revision: int) -> None:
        """The supervisor's word; ``revision``: of the catalogue in force."""
        if isinstance(answer, wire.Granted) and answer.revision > revision and answer.call in self._open:
            self._held_back[answer.call] = answer
            return
        done = self._open.pop(answer.call, None)
        if done is not None:
            done(answer)
        elif isinstance(answer, wire.Granted):
            # It crossed our Cancel. The supervisor ends it by the call as well; a lease ends once.
            self._release(answer.lease)

    def adopted(self, revision: int) -> None:
        """A catalogue is in force: what waited for it goes on."""
        for call, granted in list(self._held_back.items()):
            if granted.revision <= revision and self._held_back.pop(call, None) is not None:
                self.answered(granted, revision)

    def recalled(self, recall: wire.Recall) -> None:
        """What is held back is nobody's yet, so a recall of its generation makes it good for one exchange only."""
        for call, granted in self._held_back.items():
            if (granted.model, granted.generation) == (recall.model, recall.generation):
                self._held_back[call] = replace(granted, parkable=False)

    def end(self) -> None:
        """No answer will come."""
        self._held_back.clear()
        while self._open:
            _, done = self._open.popitem()
            done(None)
