"""The lane's access log: a line for each request, a quarter of a second late at most."""

import logging
import re
import time
from collections.abc import Iterator

import pytest
import trio

from gateway.lane.access import MOST_LINES, AccessLog, log
from gateway.lane.wheel import TICK
from tests.gateway.lane.test_lane import BODY
from tests.support.lane import CHAT, PATIENCE, lane

LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO    swapyard\.access: "
    r"(\S+) POST /v1/chat/completions (\d+) (\d+) bytes (\d+\.\d{3}) s\n"
)


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """Lines are written, as a worker does by default."""
    before = log.level
    log.setLevel(logging.INFO)
    yield
    log.setLevel(before)


async def test_a_line_is_written_soon_after_its_request_although_no_other_follows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with lane() as it, it.open() as client:
        for status, body in ((200, BODY), (404, {"model": "nobody"})):
            answer = await client.ask("POST", f"{CHAT}", body, {"X-Secret": "not told"})
            ended = time.monotonic()
            text = ""
            with trio.fail_after(PATIENCE):
                while not text:
                    await trio.sleep(0.005)
                    text = capsys.readouterr().err
            # Ten times as long, for a machine that is busy with other tests.
            assert time.monotonic() - ended < 10 * TICK
            match = LINE.fullmatch(text)
            assert match is not None, text
            assert match.groups()[:3] == ("127.0.0.1", str(status), str(len(answer.body)))
            assert float(match[4]) < PATIENCE


async def test_what_is_kept_when_the_worker_is_cancelled_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    async with lane() as it:
        async with it.open() as client:
            await client.ask("POST", CHAT, BODY)
        await it.wait(lambda: not it.lane.clients)
    assert len(LINE.findall(capsys.readouterr().err)) == 1


def test_lines_are_written_many_at_a_time_and_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    kept = AccessLog()
    for number in range(MOST_LINES - 1):
        kept.add("1.2.3.4", "POST /x", 200, number, 0.5)
    assert not capsys.readouterr().err
    kept.add("1.2.3.4", "POST /x", 200, MOST_LINES - 1, 0.5)
    lines = capsys.readouterr().err.splitlines()
    assert [int(line.split()[-4]) for line in lines] == list(range(MOST_LINES))
    kept.flush()
    assert not capsys.readouterr().err


def test_nothing_is_written_below_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    log.setLevel(logging.WARNING)
    kept = AccessLog()
    kept.add("1.2.3.4", "POST /x", 200, 1, 0.5)
    kept.flush()
    assert not capsys.readouterr().err
