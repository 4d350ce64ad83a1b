"""Open questions for leases, and outcomes on their way: held back, recalled, cancelled; lost and counted."""

from functools import partial

import pytest
import trio
import trio.testing

from protocol import messages as wire
from protocol.codec import FrameCodec
from protocol.errors import PeerError
from protocol.ids import CallId, LeaseId, ModelId
from protocol.lease_calls import LeaseAnswer, LeaseCalls
from protocol.reports import MOST_ROWS, MOST_TEXT, MOST_UNREAD, WITHIN, Reports, batch, outcomes
from protocol.zmq_trio import MOST_BYTES


class Desk:
    """What was said, and what was answered."""

    def __init__(self) -> None:
        self.said: list[wire.FromWorker] = []
        self.released: list[LeaseId] = []
        self.answers: list[LeaseAnswer] = []
        self.calls = LeaseCalls(self.said.append, self.released.append)

    def ask(self, number: int) -> CallId:
        call = CallId(f"i/w/{number}")
        self.calls.ask(wire.Acquire(call=call, name="a", caller="c"), self.answers.append)
        return call

    def grant(self, call: CallId, revision: int) -> wire.Granted:
        granted = wire.Granted(
            call=call,
            lease=LeaseId(f"L{call}"),
            model=ModelId("a"),
            generation=1,
            upstream="",
            effective_name="a",
            parkable=True,
            revision=revision,
        )
        self.calls.answered(granted, revision=1)
        return granted


def test_a_grant_ahead_of_the_catalogue_is_held_back_until_its_revision_is_adopted() -> None:
    desk = Desk()
    granted = desk.grant(desk.ask(1), revision=3)
    desk.calls.adopted(2)
    assert not desk.answers
    desk.calls.adopted(3)
    assert desk.answers == [granted]
    assert len(desk.calls) == 0


def test_cancelling_a_call_whose_grant_is_held_back_gives_the_lease_back() -> None:
    desk = Desk()
    call = desk.ask(1)
    granted = desk.grant(call, revision=2)
    desk.calls.cancel(call)
    desk.calls.adopted(2)
    assert (desk.released, desk.answers) == ([granted.lease], [])
    assert not any(isinstance(said, wire.Cancel) for said in desk.said)


def test_a_recall_makes_what_is_held_back_good_for_one_exchange_only() -> None:
    desk = Desk()
    desk.grant(desk.ask(1), revision=2)
    desk.calls.recalled(wire.Recall(model=ModelId("a"), generation=2, count=1))
    desk.grant(desk.ask(2), revision=3)
    desk.calls.adopted(2)
    desk.calls.recalled(wire.Recall(model=ModelId("a"), generation=1, count=1))
    desk.calls.adopted(3)
    assert [answer.parkable for answer in desk.answers if isinstance(answer, wire.Granted)] == [True, False]


def test_the_end_of_the_conversation_answers_everybody_once() -> None:
    desk = Desk()
    desk.ask(1)
    desk.grant(desk.ask(2), revision=2)
    desk.calls.end()
    desk.calls.adopted(2)
    assert desk.answers == [None, None]


def row(path: str = "/", error: str = "") -> wire.Outcome:
    return wire.Outcome(lease=None, model=None, caller="c", path=path, status=200, error=error)


def test_rows_that_nobody_reads_are_dropped_and_the_next_report_says_how_many() -> None:
    sent: list[wire.FromWorker] = []
    reports = Reports(partial(_keep, sent))
    for _ in range((MOST_UNREAD + 2) * MOST_ROWS):
        reports.add(row())
    assert len(sent) == MOST_UNREAD
    assert len(reports) == 0
    reports.acknowledged(1)
    reports.add(row())
    reports.flush()
    last = sent[-1]
    assert isinstance(last, wire.Report)
    assert (len(outcomes(last)), last.count, last.lost) == (1, 1, 2 * MOST_ROWS)


def _keep(sent: list[wire.FromWorker], message: wire.FromWorker) -> int:
    sent.append(message)
    return len(sent)


async def test_a_row_goes_out_in_time_and_long_texts_are_cut(autojump_clock: trio.testing.MockClock) -> None:
    sent: list[wire.FromWorker] = []
    reports = Reports(partial(_keep, sent))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reports.run)
        for _ in range(2):
            reports.add(row("/" * 70_000, "e" * 70_000))
            begun = trio.current_time()
            await trio.sleep(2 * WITHIN)
            assert trio.current_time() - begun >= WITHIN
        nursery.cancel_scope.cancel()
    assert len(sent) == 2
    assert isinstance(sent[0], wire.Report)
    (found,) = outcomes(sent[0])
    assert (len(found.path), len(found.error)) == (MOST_TEXT, MOST_TEXT)


def test_a_report_of_the_longest_rows_fits_a_message() -> None:
    longest = row("\U0001f40d" * MOST_TEXT, "\U0001f40d" * MOST_TEXT)
    frame = FrameCodec[wire.FromWorker](wire.FromWorker).encode(1, 1, batch([longest] * MOST_ROWS))
    assert len(frame) < MOST_BYTES


def test_a_report_says_what_the_scheduler_cannot_know_otherwise() -> None:
    def used(generation: int, ended: int, total: float, *, parkable: bool = True) -> wire.Outcome:
        return wire.Outcome(
            lease=LeaseId("l"), model=ModelId("m"), generation=generation, parkable=parkable, caller="c", path="/",
            status=200, ended=ended, queued=1.0, loading=2.0, total=total,
        )  # fmt: skip

    rows = [used(1, 50, 3.5), used(2, 40, 4.0), used(1, 30, 5.0), used(1, 99, 9.0, parkable=False), row()]
    report = batch(rows, lost=3)
    assert report.exchanges == (
        wire.Exchanges(model=ModelId("m"), generation=1, service=(0.5, 2.0), last_used=50),
        wire.Exchanges(model=ModelId("m"), generation=2, service=(1.0,), last_used=40),
    )
    assert (report.count, report.lost) == (5, 3)
    assert outcomes(report) == tuple(rows)


@pytest.mark.parametrize("rows", [b"", b"\x91", b"\xc1", b"\x91\x01"], ids=["nothing", "cut", "no msgpack", "no row"])
def test_rows_that_cannot_be_read_are_the_peers_fault(rows: bytes) -> None:
    with pytest.raises(PeerError, match="malformed"):
        outcomes(wire.Report(exchanges=(), rows=rows, count=1))
