"""Open control questions: who asked, and how he gets his answer, whichever socket he came by.

A question that changes models becomes an event and is answered when the core says so; the rest is answered
at once. At most ``LIMIT`` are open; one more is refused as busy. Called by ``control_socket.py`` (tools) and
``worker_socket.py`` (HTTP clients); ``perform.py`` brings the core's answers.
"""

from collections.abc import Callable

from protocol.control import (
    Done,
    Explain,
    ExplainReply,
    Failed,
    Load,
    Logs,
    LogsReply,
    Queue,
    QueueReply,
    Record,
    Reload,
    Reply,
    Reset,
    Status,
    StatusReply,
    Unload,
    Verb,
)
from protocol.ids import CallId, ModelId, Refusal, call_id
from supervisor.scheduler import events as ev

LIMIT = 1000

Answerer = Callable[[Reply], None]


class Questions:
    """``resolve`` turns a name or alias into a model id, None if there is none."""

    def __init__(
        self,
        instance: str,
        *,
        post: Callable[[ev.Event], None],
        resolve: Callable[[str], ModelId | None],
        status: Callable[[], StatusReply],
        logs: Callable[[ModelId], LogsReply],
        queue: Callable[[], QueueReply],
        explain: Callable[[str], ExplainReply | Failed],
        reload: Callable[[bool, Answerer], None],
        record: Callable[[Record, Answerer], None],
    ) -> None:
        self._instance = instance
        self._post = post
        self._resolve = resolve
        self._status = status
        self._logs = logs
        self._queue = queue
        self._explain = explain
        self._reload = reload
        self._record = record
        self._open: dict[CallId, Answerer] = {}
        self._count = 0

    def ask(self, verb: Verb, answer: Answerer) -> None:  # noqa: C901 (one row for each verb)
        """Answer ``verb`` now or later; ``answer`` is called exactly once, unless the supervisor ends first."""
        if len(self._open) >= LIMIT:
            answer(Failed(code="busy", text=f"{LIMIT} questions are open already; try again later"))
            return
        match verb:
            case Status():
                answer(self._status())
            case Queue():
                answer(self._queue())
            case Explain(call=call):
                answer(self._explain(call))
            case Reload(dry_run=dry_run):
                self._reload(dry_run, answer)
            case Record():
                self._record(verb, answer)
            case Logs(model=name):
                self._about(name, answer, lambda model: answer(self._logs(model)))
            case Load(model=name):
                self._about(name, answer, lambda model: self._post(ev.LoadAsked(self._remember(answer), model)))
            case Reset(model=name):
                self._about(name, answer, lambda model: self._post(ev.ResetAsked(self._remember(answer), model)))
            case Unload():
                self._unload(verb, answer)

    def shut_down(self, grace: float, answer: Answerer) -> None:
        """The supervisor's own question: end everything within ``grace`` seconds."""
        self._post(ev.ShutdownAsked(self._remember(answer), grace))

    def answered(self, call: CallId, refusal: Refusal | None, text: str) -> None:
        """The core has decided."""
        answer = self._open.pop(call, None)
        if answer is not None:
            answer(Done(text=text) if refusal is None else Failed(code=str(refusal), text=text))

    def _about(self, name: str, answer: Answerer, act: Callable[[ModelId], None]) -> None:
        model = self._resolve(name)
        if model is None:
            answer(_unknown(name))
        else:
            act(model)

    def _unload(self, verb: Unload, answer: Answerer) -> None:
        models: list[ModelId] = []
        for name in verb.models:
            model = self._resolve(name)
            if model is None:
                answer(_unknown(name))
                return
            models.append(model)
        which = tuple(dict.fromkeys(models)) or None
        self._post(ev.UnloadAsked(self._remember(answer), which, verb.drain))

    def _remember(self, answer: Answerer) -> CallId:
        self._count += 1
        call = call_id(self._instance, "control", self._count)
        self._open[call] = answer
        return call


def _unknown(name: str) -> Failed:
    return Failed(code=str(Refusal.UNKNOWN_MODEL), text=f"there is no model {name!r}")
