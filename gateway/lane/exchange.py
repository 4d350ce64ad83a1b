"""One request of the lane, from its last byte to the end of its answer. Synchronous; no sockets, no trio.

::

    start ──▶ QUEUED (asked for a lease) ──▶ CONNECTING ──▶ WAITING (request sent) ──▶ RELAYING ──▶ over
    start ── a lease is parked, a connection idle ──▶ WAITING

What one read of the model server brought is one write to the client, in the server's own framing. The lease goes
back in one place (``_end``), whatever ended the exchange; the outcome is told when the turn's answers are on their
way. Errors are those of ``gateway/refusals.py``; after the head they are events, or a connection that breaks. Called
by ``client.py``; its upstream is ``upstream.py``, its lease ``gateway/leases.py``.
"""

import math
from enum import Enum, auto
from time import monotonic
from typing import TYPE_CHECKING

from gateway import filters
from gateway.exchange import Record
from gateway.lane.answer import Answer
from gateway.lane.answer_heads import AnswerHead, NotAnAnswer
from gateway.lane.chunks import NotChunked
from gateway.lane.form import END
from gateway.lane.heads import RequestHead
from gateway.lane.sides import Side
from gateway.lane.upstream import Pool, Upstream
from gateway.leases import Held
from gateway.loading import COMMENT, HEAD
from gateway.refusals import Refused, RefusedError, Situation, refuse
from gateway.routing import Peek, asked_name, patience, peek, wants_stream
from gateway.usage import Tokens
from protocol.errors import ConversationEnded
from protocol.ids import CallId
from protocol.worker_link import AcquireRefused

if TYPE_CHECKING:
    from gateway.lane.lane import Lane

LEFT = 499


class Phase(Enum):
    """How far it is."""

    QUEUED = auto()
    CONNECTING = auto()
    WAITING = auto()
    RELAYING = auto()
    OVER = auto()


_QUEUED, _CONNECTING, _WAITING, _RELAYING, _OVER = Phase
# A member of an enumeration costs more to look up than a global, and these are looked up for each request.


class Exchange:
    """``head`` and ``body`` as they came; the body is kept until the answer begins, for one more try."""

    __slots__ = (
        "_answer", "_answer_by", "_body", "_call", "_caller", "_client", "_closes", "_guarded", "_head", "_head_sent",
        "_held", "_lane", "_peek", "_phase", "_pool", "_raw", "_received", "_record", "_retried", "_sent", "_sound",
        "_up", "_wants_stream",
    )  # fmt: skip

    def __init__(self, lane: "Lane", client: Side, head: RequestHead, body: bytes) -> None:
        self._lane = lane
        self._client = client
        self._head = head
        self._raw = self._body = body
        self._phase = _QUEUED
        self._guarded = False
        self._caller = ""
        self._record = Record(begun=lane.reactor.now, bytes_in=len(body))
        self._peek: Peek | None = None
        self._wants_stream = False
        self._answer_by = math.inf
        self._call: CallId | None = None
        self._held: Held | None = None
        self._sound = True
        self._pool: Pool | None = None
        self._up: Upstream | None = None
        self._retried = False
        self._received = b""
        self._answer: Answer | None = None
        self._closes = False
        self._head_sent = False
        self._sent = 0

    # -------------------------------------------------------------- the way up

    def start(self) -> None:
        """Whose request is it, and for which model?"""
        lane, head, raw = self._lane, self._head, self._raw
        index = lane.index
        catalogue = index.catalogue
        try:
            self._guarded = bool(catalogue.key_digests)
            if self._guarded and not head.allowed(catalogue):
                raise refuse(Situation.BAD_KEY, "a valid API key is needed")
            self._caller = head.caller(self._client.peer, keys=self._guarded, trusted=index.trusted)
            limit = patience(head.patience) if head.patience else None
            found = self._peek = peek(raw)
            self._wants_stream = wants_stream(found)
            asked = asked_name(found)
            model = self._record.model = index.find(asked)
            self._body = filters.apply(raw, model, asked)
        except RefusedError as error:
            self._tell(error.refused)
            return
        if model.id in lane.detours:
            self._detour()
            return
        held = lane.book.take(asked)
        if held is not None:
            self._leased(held)
            return
        self._ask(asked, limit)

    def _ask(self, asked: str, limit: float | None) -> None:
        waited = self._lane.reactor.now - self._record.begun
        left = None if limit is None else max(0.0, limit - waited)
        self._comment_later()
        try:
            self._call = self._lane.book.request(asked, caller=self._caller, deadline_in=left, done=self._asked)
        except AcquireRefused as refused:
            self._tell(Refused(refused.refusal, refused.text, retry_after=refused.retry_after))
        except ConversationEnded:
            self._alone()

    def _asked(self, answer: Held | AcquireRefused | ConversationEnded) -> None:
        self._call = None
        match answer:
            case AcquireRefused():
                self._tell(Refused(answer.refusal, answer.text, retry_after=answer.retry_after))
            case ConversationEnded():
                self._alone()
            case _:
                self._leased(answer)

    def _alone(self) -> None:
        self._tell(Refused(Situation.SUPERVISOR_GONE, "swapyard is restarting; try again", retry_after=1.0))

    def _leased(self, held: Held) -> None:
        self._held = held
        held.on_cut = self._cut
        record = self._record
        record.granted = monotonic()
        record.loading = held.loading
        pool = self._pool = self._lane.pools.find(held.model, held.generation, held.upstream)
        if pool is None:
            self._lane.detours.add(held.model)
            self._detour()
            return
        up = pool.take(self)
        if up is None:
            self._connect()
            return
        self._up = up
        self._send_up(up, pool)

    def _detour(self) -> None:
        """Its server is one that only hypercorn's way reaches, by name or by TLS; the request goes there as it came."""
        self._held, held = None, self._held
        if held is not None:
            self._lane.book.give_back(held)
        self._phase = _OVER
        self._client.detour(self._head.filled(len(self._raw)) + self._raw)

    def _connect(self) -> None:
        assert self._pool is not None
        self._phase = _CONNECTING
        assert self._record.model is not None
        self._client.limit_time(self._record.model.connect or math.inf)
        self._up = self._pool.open(self)

    def connected(self) -> None:
        """As ``Asker`` says."""
        if self._up is not None and self._pool is not None:
            self._send_up(self._up, self._pool)

    def _send_up(self, up: Upstream, pool: Pool) -> None:
        assert self._record.model is not None
        self._phase = _WAITING
        limit = self._record.model.first_byte
        self._answer_by = self._lane.reactor.now + limit if limit else math.inf
        self._comment_later()
        head, body = self._head, self._body
        peer, length = self._client.peer, len(body)
        up.send(head.upward(base=pool.base, peer=peer, length=length, keep_credentials=not self._guarded), body)

    # -------------------------------------------------------------- the way down

    def received(self, data: bytes) -> None:
        """As ``Asker`` says."""
        answer = self._answer
        if answer is None:
            self._look_for_head(data)
            return
        try:
            piece = answer.feed(data)
        except NotChunked as error:
            self._fail(f"the model server's answer is not HTTP: {error}")
            return
        self._pass(answer, piece)

    def _look_for_head(self, data: bytes) -> None:
        assert self._pool is not None
        data = self._received + data if self._received else data
        try:
            head, length, start = self._pool.heads.find(data)
        except NotAnAnswer as error:
            self._fail(f"the model server's answer is not HTTP: {error}")
            return
        if head is not None:
            self._received = b""
            self._begin_answer(head, length, data, start)
            return
        self._received = data[start:]
        # Who has given an interim answer has got the request, so nobody else gets it.
        self._retried = self._retried or start > 0

    def _begin_answer(self, head: AnswerHead, length: int | None, data: bytes, start: int) -> None:
        """``data``: the head, and what there is of the body from ``start`` on."""
        answer = self._answer = Answer(head, length, joins=self._head_sent)
        self._raw = self._body = b""
        record = self._record
        record.first_byte = monotonic()
        record.status = head.status
        self._phase = _RELAYING
        self._client.deadline = math.inf
        self._closes = self._head.close or self._lane.draining or answer.ends_with_connection
        body = data[start:]
        try:
            piece = answer.feed(body)
        except NotChunked as error:
            self._fail(f"the model server's answer is not HTTP: {error}")
            return
        if head.event_stream and not answer.done and self._up is not None:
            self._up.coalesce()
        if self._head_sent:
            self._pass(answer, piece)
            return
        self._head_sent = True
        as_it_came = piece is body and head.down is None and not self._closes
        self._pass(answer, data if as_it_came else head.text(length, close=self._closes) + piece)

    def _pass(self, answer: Answer, piece: bytes) -> None:
        """Pass on a piece of the body."""
        if answer.failure is not None:
            self._fail(answer.failure)
            return
        if piece and not self._client.send(piece):
            self.hold()
        if answer.done:
            self._complete(answer)

    def hold(self) -> None:
        """The client does not take what it was sent: until it does, nothing more is read for it."""
        up = self._up
        if up is not None and self._phase is _RELAYING and not up.paused:
            up.paused = True
            self._client.when_sent(self._resume)

    def _resume(self) -> None:
        if self._up is not None and self._phase is _RELAYING:
            self._up.resume()

    def broken(self, why: str, *, clean: bool) -> None:
        """As ``Asker`` says."""
        up, self._up = self._up, None
        answer = self._answer
        if clean and answer is not None and answer.ends_with_connection:
            self._pass(answer, answer.end())
        elif answer is not None or self._received:
            self._fail("the model server broke off in the middle of its answer")
        elif up is not None and up.used and not self._retried:
            self._retried = True
            self._connect()
        elif up is not None and not up.connecting:
            # It may have got the request, so nobody else gets it.
            self._fail("the model server closed the connection without an answer")
        elif self._held is not None and self._held.reused:
            self._ask_again(self._held)
        else:
            self._fail(why)

    def _ask_again(self, held: Held) -> None:
        """A parked lease may have outlived its server: what is true now, the supervisor knows."""
        assert self._peek is not None
        self._held = None
        self._lane.book.dropped(held)
        self._phase = _QUEUED
        self._ask(asked_name(self._peek), patience(self._head.patience))

    # -------------------------------------------------------------- while it waits

    def _comment_later(self) -> None:
        """Somebody who waits for a stream hears from us now and then; a model server has a limit of its own."""
        if not self._wants_stream and self._answer_by == math.inf:
            self._client.deadline = math.inf
            return
        comment = self._lane.limits.keep_alive_after if self._wants_stream else math.inf
        self._client.limit_time(min(comment, self._answer_by - self._lane.reactor.now))

    def expire(self) -> None:
        """The wheel says that the client's deadline is over."""
        if self._phase is _CONNECTING:
            self._drop_up()
            self._fail("the model server does not accept connections")
        elif self._phase is _WAITING and self._lane.reactor.now >= self._answer_by:
            self._drop_up()
            self._tell(Refused(Situation.UPSTREAM_SLOW, "the model server did not begin to answer in time"))
        elif self._phase in (_QUEUED, _WAITING):
            self._comment()
        else:
            self._client.deadline = math.inf

    def _comment(self) -> None:
        comment = b"%x\r\n%b\r\n" % (len(COMMENT), COMMENT)
        if not self._head_sent:
            self._head_sent = True
            self._record.status = 200
            lines = b"".join(b"\r\n%b: %b" % line for line in HEAD)
            comment = b"HTTP/1.1 200 OK%b\r\ntransfer-encoding: chunked%b%b" % (lines, END, comment)
        self._client.send(comment)
        self._comment_later()

    # -------------------------------------------------------------- the ends

    def _complete(self, answer: Answer) -> None:
        """The whole answer has been passed on."""
        up, self._up = self._up, None
        if up is not None:
            up.release(reusable=answer.head.keep_alive and answer.clean)
        self._end()
        self._client.exchange_over(keep_alive=not self._closes)

    def client_gone(self) -> None:
        """The client has left: nothing goes on for it."""
        self._record.error = "the client left"
        self._record.status = self._record.status or LEFT
        self._drop_up()
        self._end()

    def _cut(self) -> None:
        """The supervisor wants it ended now."""
        self._drop_up()
        self._tell(Refused(Situation.CUT, "the model was stopped while it answered"))

    def _fail(self, why: str) -> None:
        """The model server gives no answer, or none that can be brought to its end."""
        self._sound = False
        self._drop_up()
        self._tell(Refused(Situation.UPSTREAM_FAILED, why))

    def _tell(self, refused: Refused) -> None:
        """An error for the client: an answer, an event and then a broken end, or just that."""
        if self._phase is _OVER:
            return
        client = self._client
        self._record.error = refused.text
        if not self._head_sent:
            self._record.status = refused.status
            close = self._head.close or self._lane.draining
            answer, self._sent = refused.answer(self._head.value(b"accept"), close=close)
            client.send(answer)
            self._end()
            client.exchange_over(keep_alive=not close)
            return
        takes_event = self._answer is None or self._answer.takes_event
        self._end()
        if takes_event:
            event = refused.event(self._head.route.dialect)
            client.send(b"%x\r\n%b\r\n" % (len(event), event))
            client.close_when_sent()
        else:
            client.abort()

    def _drop_up(self) -> None:
        up, self._up = self._up, None
        if up is not None:
            up.close()

    def _end(self) -> None:
        """The one end: the lease goes back, the question is withdrawn, the outcome will be told."""
        if self._phase is _OVER:
            return
        self._phase = _OVER
        self._raw = self._body = b""
        lane, held = self._lane, self._held
        if self._call is not None:
            lane.book.cancel(self._call)
            self._call = None
        if held is not None:
            held.on_cut = None
            lane.book.give_back(held, reusable=self._sound)
        self._record.ended = monotonic()
        lane.reactor.at_last(self._note)

    def _note(self) -> None:
        """How it ended, for the supervisor and the log. The lease may be another exchange's by now."""
        lane, record, held, answer = self._lane, self._record, self._held, self._answer
        sent = self._sent if answer is None else answer.passed
        if held is not None:
            tokens = answer.tokens() if answer is not None else Tokens()
            path, caller = self._head.route.forward_as, self._caller
            lane.report(record.outcome(held, caller=caller, path=path, bytes_out=sent, tokens=tokens))
        lane.access.add(self._client.peer, self._head.line, record.status, sent, record.ended - record.begun)
