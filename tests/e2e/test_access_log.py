"""The access log of a whole swapyard: the line of the last request is there, however the workers end."""

import os
import signal

import trio

from tests.support.yard import PATIENCE, fake, yard

CONFIG = f"""
models:
  m: {{cmd: '{fake("--name m")}'}}
"""


async def test_the_line_of_the_last_request_is_there_after_sigterm() -> None:
    async with yard(CONFIG) as it:
        for _ in range(3):
            assert (await it.chat("m")).status == 200
        it.process.send_signal(signal.SIGTERM)
        with trio.fail_after(PATIENCE):
            assert await it.process.wait() == 0
        assert it.log().count("swapyard.access: 127.0.0.1 POST /v1/chat/completions 200 ") == 3


async def test_the_line_of_the_last_request_is_there_when_the_supervisor_was_killed() -> None:
    async with yard(CONFIG, exit_status=None) as it:
        for _ in range(3):
            assert (await it.chat("m")).status == 200
        os.kill(it.supervisor_pid(), signal.SIGKILL)  # noqa: TID251 (a crash, as the system would cause it)
        with trio.fail_after(PATIENCE):
            await it.process.wait()
        assert it.log().count("swapyard.access: 127.0.0.1 POST /v1/chat/completions 200 ") == 3
