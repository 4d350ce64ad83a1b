"""The lease book against a link whose messages the test writes; the link's own part is the real one."""

from collections.abc import Callable

import pytest
import trio
import trio.testing

from gateway.leases import PARKED_FOR, Answer, Held, LeaseBook
from protocol import messages as wire
from protocol.catalogue import Catalogue, CatalogueModel
from protocol.codec import FrameCodec
from protocol.errors import ConversationEnded, LocalProtocolError
from protocol.ids import CallId, LeaseId, ModelId, Refusal, call_id
from protocol.lease_calls import LeaseCalls, LeaseDone
from protocol.worker_link import AcquireRefused

A, B = ModelId("a"), ModelId("b")
SECOND = 10**9


class FakeLink:
    """Keeps what the book says, and tells what the test wants, through the codec."""

    def __init__(self) -> None:
        self.said: list[wire.FromWorker] = []
        self.calls = LeaseCalls(self.said.append, self.release)
        self.count = 0
        self.now = 10 * SECOND
        self.codec: FrameCodec[wire.FromSupervisor] = FrameCodec(wire.FromSupervisor)

    def request_lease(self, name: str, *, caller: str, deadline_in: float | None = None, done: LeaseDone) -> CallId:
        self.count += 1
        call = call_id("i", "w", self.count)
        self.calls.ask(wire.Acquire(call=call, name=name, caller=caller, deadline_in=deadline_in), done)
        return call

    def cancel(self, call: CallId) -> None:
        self.calls.cancel(call)

    def release(self, lease: LeaseId, last_used: int | None = None) -> None:
        self.said.append(wire.Release(lease=lease, last_used=self.now if last_used is None else last_used))

    def tell(self, message: wire.Granted | wire.Refused) -> None:
        decoded = self.codec.decode(self.codec.encode(1, 1, message))[2]
        assert isinstance(decoded, wire.Granted | wire.Refused)
        self.calls.answered(decoded, revision=1)

    def grant(self, call: CallId, model: ModelId = A, generation: int = 1, *, parkable: bool = True) -> None:
        number = call.rpartition("/")[2]
        self.tell(
            wire.Granted(
                call=call,
                lease=LeaseId(f"i/L{number}"),
                model=model,
                generation=generation,
                upstream="http://127.0.0.1:1",
                effective_name=str(model),
                parkable=parkable,
                revision=1,
                loading=2.5,
            )
        )

    def released(self) -> list[tuple[str, float]]:
        """Leases given back, by number, with the second of their last use."""
        return [
            (said.lease.rpartition("/L")[2], said.last_used / SECOND)
            for said in self.said
            if isinstance(said, wire.Release)
        ]


@pytest.fixture
def link() -> FakeLink:
    return FakeLink()


@pytest.fixture
def book(link: FakeLink) -> LeaseBook:
    return LeaseBook(link, now=lambda: link.now)


def ask(book: LeaseBook, name: str = "a") -> tuple[CallId, list[Held | Answer]]:
    answers: list[Held | Answer] = []
    return book.request(name, caller="c", done=answers.append), answers


def granted(
    book: LeaseBook, link: FakeLink, name: str = "a", model: ModelId = A, generation: int = 1, *, parkable: bool = True
) -> Held:
    call, answers = ask(book, name)
    link.grant(call, model, generation, parkable=parkable)
    (held,) = answers
    assert isinstance(held, Held)
    return held


def recall(count: int, model: ModelId = A, generation: int = 1) -> wire.Recall:
    return wire.Recall(model=model, generation=generation, count=count)


def test_a_parked_lease_is_taken_for_the_same_name_only_and_the_youngest_first(book: LeaseBook, link: FakeLink) -> None:
    one, two = granted(book, link), granted(book, link)
    assert (one.reused, one.loading) == (False, 2.5)
    book.give_back(one)
    book.give_back(two)
    assert book.take("alias of a") is None
    assert book.take("a") is two
    assert (two.reused, two.loading) == (True, 0.0)
    assert book.take("a") is one
    assert book.take("a") is None
    assert not link.released()


@pytest.mark.parametrize("why", ["not parkable", "not reusable", "recalled", "draining"])
def test_a_lease_that_may_not_be_kept_is_released_when_its_exchange_ends(
    book: LeaseBook, link: FakeLink, why: str
) -> None:
    held = granted(book, link, parkable=why != "not parkable")
    if why == "recalled":
        book.recall(recall(1))
    if why == "draining":
        book.drain()
    assert not link.released(), "it is in use"
    link.now += 3 * SECOND
    book.give_back(held, reusable=why != "not reusable")
    assert link.released() == [("1", 13.0)]
    assert book.statistics() == {"leases": 0, "idle": 0}


def test_giving_back_twice_is_a_mistake_and_changes_nothing(book: LeaseBook, link: FakeLink) -> None:
    held = granted(book, link)
    book.give_back(held)
    with pytest.raises(LocalProtocolError, match="i/L1 of 'a' is idle"):
        book.give_back(held)
    assert book.statistics() == {"leases": 1, "idle": 1}


def test_what_was_idle_for_a_second_goes_back_with_the_time_of_its_last_use(book: LeaseBook, link: FakeLink) -> None:
    one, two = granted(book, link), granted(book, link)
    book.give_back(one)
    link.now += SECOND // 2
    book.give_back(two)
    link.now += int((PARKED_FOR - 0.5) * SECOND)
    book.sweep()
    assert link.released() == [("1", 10.0)]
    book.sweep()
    link.now += SECOND
    book.sweep()
    assert link.released() == [("1", 10.0), ("2", 10.5)]


def test_a_recall_takes_idle_ones_longest_unused_first_and_busy_ones_for_the_rest(
    book: LeaseBook, link: FakeLink
) -> None:
    busy, *idle = [granted(book, link) for _ in range(4)]
    other = granted(book, link, "b", B, 2)
    book.give_back(other)
    for held in reversed(idle):
        link.now += SECOND // 10
        book.give_back(held)
    book.recall(recall(2))
    assert [number for number, _ in link.released()] == ["4", "3"]
    book.recall(recall(2))
    assert [number for number, _ in link.released()] == ["4", "3", "2"]
    book.recall(recall(9))
    book.give_back(busy)
    assert [number for number, _ in link.released()] == ["4", "3", "2", "1"]
    assert book.take("b") is other


def test_a_recall_gets_the_busy_lease_that_ends_first_and_the_others_are_parked(
    book: LeaseBook, link: FakeLink
) -> None:
    long, short = granted(book, link), granted(book, link)
    book.recall(recall(1))
    book.give_back(short)
    assert [number for number, _ in link.released()] == ["2"]
    book.give_back(long)
    assert [number for number, _ in link.released()] == ["2"]
    assert book.take("a") is long


def test_each_recall_gets_another_lease_and_no_more_than_there_are(book: LeaseBook, link: FakeLink) -> None:
    early = [granted(book, link) for _ in range(2)]
    for count in (1, 1, 9):
        book.recall(recall(count))
    late = granted(book, link)
    for held in (late, *early):
        book.give_back(held)
    assert [number for number, _ in link.released()] == ["3", "1"]
    assert book.take("a") is early[1]


def test_a_recall_is_settled_by_a_failed_exchange_and_not_by_a_lease_that_was_never_to_be_kept(
    book: LeaseBook, link: FakeLink
) -> None:
    once, failed, sound = granted(book, link, parkable=False), granted(book, link), granted(book, link)
    book.recall(recall(1))
    book.give_back(once)
    book.give_back(failed, reusable=False)
    book.give_back(sound)
    assert [number for number, _ in link.released()] == ["1", "2"]
    assert book.take("a") is sound


def test_a_recall_of_another_generation_changes_nothing(book: LeaseBook, link: FakeLink) -> None:
    book.give_back(granted(book, link))
    book.recall(recall(5, A, 2))
    assert not link.released()


def test_a_cut_ends_the_exchange_once_and_releases_an_idle_lease(book: LeaseBook, link: FakeLink) -> None:
    busy, idle = granted(book, link), granted(book, link)
    book.give_back(idle)
    ended: list[str] = []

    def end() -> None:
        ended.append("cut")
        book.give_back(busy)

    busy.on_cut = end
    for lease in (busy.lease, idle.lease, idle.lease, LeaseId("i/L99")):
        book.cut(lease)
    assert ended == ["cut"]
    assert sorted(link.released()) == [("1", 10.0), ("2", 10.0)]


def test_a_dead_server_takes_everything_parked_of_its_generation_and_nothing_else(
    book: LeaseBook, link: FakeLink
) -> None:
    used, parked, busy = (granted(book, link) for _ in range(3))
    newer = granted(book, link, "a", A, 2)
    for held in (newer, parked, used):
        book.give_back(held)
    assert book.take("a") is used
    book.dropped(used)
    assert sorted(number for number, _ in link.released()) == ["1", "2"]
    book.give_back(busy)
    assert sorted(number for number, _ in link.released()) == ["1", "2", "3"]
    assert book.take("a") is newer


def catalogue(alias_of: ModelId, *models: ModelId) -> Catalogue:
    found = [CatalogueModel(id=model, aliases=("x",) if model == alias_of else ()) for model in models]
    return Catalogue(revision=1, models=tuple(found))


def test_a_name_that_means_another_model_now_loses_what_was_parked_under_it(book: LeaseBook, link: FakeLink) -> None:
    book.adopt(catalogue(A, A, B))
    by_alias, by_id, busy = granted(book, link, "x"), granted(book, link, "a"), granted(book, link, "x")
    late, answers = ask(book, "x")
    book.give_back(by_alias)
    book.give_back(by_id)
    book.adopt(catalogue(B, A, B))
    assert [number for number, _ in link.released()] == ["1"]
    book.give_back(busy)
    link.grant(late)
    (held,) = answers
    assert isinstance(held, Held)
    book.give_back(held)
    assert [number for number, _ in link.released()] == ["1", "3", "4"], "nor is what was asked for before"
    book.adopt(catalogue(B, B))
    assert [number for number, _ in link.released()] == ["1", "3", "4", "2"]


def test_a_worker_that_drains_gives_idle_leases_back_and_keeps_none_any_more(book: LeaseBook, link: FakeLink) -> None:
    book.give_back(granted(book, link))
    call, answers = ask(book)
    book.drain()
    assert link.released() == [("1", 10.0)]
    link.grant(call)
    (held,) = answers
    assert isinstance(held, Held)
    book.give_back(held)
    assert len(link.released()) == 2


def test_a_grant_that_crosses_a_cancel_goes_back_and_nobody_is_told(book: LeaseBook, link: FakeLink) -> None:
    call, answers = ask(book)
    book.cancel(call)
    link.grant(call)
    assert not answers
    assert [type(said).__name__ for said in link.said] == ["Acquire", "Cancel", "Release"]
    book.cancel(call)
    assert len(link.said) == 3


def test_refusals_and_the_end_of_the_conversation_are_answers(book: LeaseBook, link: FakeLink) -> None:
    call, answers = ask(book)
    link.tell(wire.Refused(call=call, refusal=Refusal.OVERLOADED, text="too many", retry_after=2.0))
    _, later = ask(book)
    link.calls.end()
    (refused,) = answers
    assert isinstance(refused, AcquireRefused)
    assert (refused.refusal, refused.text, refused.retry_after) == (Refusal.OVERLOADED, "too many", 2.0)
    assert isinstance(later[0], ConversationEnded)


async def test_acquire_takes_what_is_parked_unless_it_shall_be_fresh(book: LeaseBook, link: FakeLink) -> None:
    held = granted(book, link)
    book.give_back(held)
    assert await book.acquire("a", caller="c") is held
    book.give_back(held)
    async with trio.open_nursery() as nursery:
        got: list[Held] = []
        nursery.start_soon(_acquire, book, got.append)
        await trio.testing.wait_all_tasks_blocked()
        link.grant(call_id("i", "w", 2))
    assert got[0] is not held


async def _acquire(book: LeaseBook, got: Callable[[Held], None]) -> None:
    got(await book.acquire("a", caller="c", fresh=True))


async def test_an_acquire_that_is_cancelled_leaves_nothing_behind(book: LeaseBook, link: FakeLink) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_acquire, book, lambda _: None)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    link.grant(call_id("i", "w", 1))
    assert [type(said).__name__ for said in link.said] == ["Acquire", "Cancel", "Release"]
    assert book.statistics()["leases"] == 0


async def test_a_lease_that_is_cut_before_its_task_runs_is_refused_as_unloaded(book: LeaseBook, link: FakeLink) -> None:
    async def acquire() -> None:
        with pytest.raises(AcquireRefused, match="model 'a' was stopped") as caught:
            await book.acquire("a", caller="c")
        assert caught.value.refusal is Refusal.UNLOADED

    async with trio.open_nursery() as nursery:
        nursery.start_soon(acquire)
        await trio.testing.wait_all_tasks_blocked()
        link.grant(call_id("i", "w", 1))
        book.cut(LeaseId("i/L1"))
    assert link.released() == [("1", 10.0)]
