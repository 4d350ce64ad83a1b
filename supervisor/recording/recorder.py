"""Recording what reaches the scheduler core, with what it decides, into a file (``protocol/recording.py``).

Off the hot path: an event becomes a line at once, and a thread writes what has gathered. That costs an event about 12
microseconds and 200 bytes, a third more than the core and the loop take for it (``test_recorder.py`` measures it), and
three times as much with hidden names; without a recording, one comparison. What is not written yet is bounded; a disk
that does not keep up, or is full, ends the recording with a line that says so, never the supervisor.
The supervisor writes, not ``swapctl``: it loses no event however slow a reader is, and the recording goes on when the
terminal is closed. The control socket is open to the user it runs as and to nobody else, so it writes where the asker
could write himself. Called by ``questions.py``; ``loop.py`` hands over the events.
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import trio

from protocol.control import Failed, Record, RecordReply, Reply
from protocol.recording import LONGEST_LINE, Ended, encode
from supervisor import clock
from supervisor.recording import private_file
from supervisor.recording.lines import beginning, happening
from supervisor.recording.veil import Veil
from supervisor.scheduler.effects import Effect
from supervisor.scheduler.events import Event, Snapshot

log = logging.getLogger("swapyard.record")

LEAST = 64 * 1024
"""Bytes of the smallest limit: room for a beginning and an end."""
MOST_BEHIND = 16 * 1024 * 1024
"""Bytes that may wait for the disk."""
WITHIN = 0.25
"""Seconds after which a line is handed to the disk at the latest."""
AT_ONCE = 256 * 1024
"""Bytes that are handed to it without waiting for more."""
_FOR_THE_END = 1024
"""Bytes kept free for the last line."""
_LONGEST_TEXT = 400

Answerer = Callable[[Reply], None]


class Recorded(Protocol):
    """Whose events are recorded (``loop.Loop``)."""

    record: Callable[[Event, float, Sequence[Effect] | None], None] | None


@dataclass(slots=True)
class _Open:
    """One recording. ``gathered``: lines that no thread has yet, ``behind``: bytes in them and under way."""

    path: str
    most: int
    veil: Veil | None
    began: float
    descriptor: int = -1
    gathered: list[bytes] = field(default_factory=list)
    behind: int = 0
    size: int = 0
    """Bytes of all lines so far, written or not."""
    events: int = 0
    seconds: float = 0.0
    why: str = ""
    """How it ended; empty while it goes on."""
    text: str = ""
    asker: Answerer | None = None
    """Who waits for its end."""
    something: trio.Event = field(default_factory=trio.Event)
    """Set when there is anything to write."""
    enough: trio.Event = field(default_factory=trio.Event)
    """Set when it should be written now."""
    closed: trio.Event = field(default_factory=trio.Event)


class Recorder:
    """One recording at a time. ``config`` is what the scheduler reads of the configuration in force."""

    def __init__(
        self,
        instance: str,
        *,
        loop: Recorded,
        snapshot: Callable[[], Snapshot],
        config: Callable[[], dict[str, Any]],
        nursery: trio.Nursery,
    ) -> None:
        self._instance = instance
        self._loop = loop
        self._snapshot = snapshot
        self._config = config
        self._nursery = nursery
        self._now: _Open | None = None
        self._last: _Open | None = None

    def ask(self, verb: Record, answer: Answerer) -> None:
        """Start, stop, or say how it stands; ``answer`` is called once."""
        match verb.action:
            case "start":
                self._start(verb, answer)
            case "stop":
                self._stop(answer)
            case "status":
                answer(self._reply())

    async def finish(self, within: float) -> None:
        """The supervisor ends: write what there is, in so many seconds."""
        under_way = self._now
        if under_way is not None:
            self._end(under_way, "shutdown", "swapyard was stopped")
            with trio.move_on_after(within):
                await under_way.closed.wait()

    def _start(self, verb: Record, answer: Answerer) -> None:
        if self._now is not None:
            under_way = f"a recording to {self._now.path} is under way; 'swapctl record stop' ends it"
            answer(Failed(code="busy", text=_unwritten(self._now) if self._now.why else under_way))
        elif not os.path.isabs(verb.path):  # noqa: PTH117 (a text from the wire)
            answer(Failed(code="cannot_record", text=f"the path {verb.path!r} is not absolute"))
        elif verb.most < LEAST:
            text = f"a recording needs at least {LEAST // 1024} KiB, not {verb.most} bytes"
            answer(Failed(code="cannot_record", text=text))
        else:
            self._now = _Open(verb.path, verb.most, Veil() if verb.hash_names else None, clock.now())
            self._nursery.start_soon(self._record, self._now, verb.overwrite, answer)

    def _stop(self, answer: Answerer) -> None:
        under_way = self._now
        if under_way is None:
            last = f"; the last recording, to {self._last.path}, ended: {self._last.text}" if self._last else ""
            answer(Failed(code="not_recording", text=f"nothing is recorded{last}"))
        elif under_way.why:
            answer(Failed(code="busy", text=_unwritten(under_way)))
        else:
            under_way.asker = answer
            self._end(under_way, "stopped", "as asked")

    def _reply(self) -> RecordReply:
        found = self._now or self._last
        if found is None:
            return RecordReply(active=False)
        return RecordReply(
            active=not found.why,
            path=found.path,
            events=found.events,
            bytes=found.size,
            most=found.most,
            seconds=found.seconds if found.why else clock.now() - found.began,
            hashed=found.veil is not None,
            failed=found.why in ("limit", "slow", "failed"),
            text=found.text,
        )

    # One recording

    async def _record(self, mine: _Open, overwrite: bool, answer: Answerer) -> None:
        """From opening the file to closing it."""
        try:
            mine.descriptor = await _in_thread(private_file.opened, mine.path, overwrite)
            problem = self._begin(mine)
        except OSError as error:
            problem = f"cannot write {mine.path}: {private_file.reason(error)}"
        except ValueError:
            problem = f"{mine.path!r} is no path"
        if problem is None:
            answer(self._reply())
            await self._write_all(mine)
        else:
            self._now = None
            if mine.descriptor >= 0 and not overwrite:
                await _in_thread(private_file.remove, mine.path)
            answer(Failed(code="cannot_record", text=problem))
        if mine.descriptor >= 0:
            await self._close(mine)
        if mine.asker is not None:
            done = not mine.why or mine.why == "stopped"
            text = f"the recording to {mine.path} ended: {mine.text}"
            mine.asker(self._reply() if done else Failed(code="cannot_record", text=text))
        mine.closed.set()

    def _begin(self, mine: _Open) -> str | None:
        """The first line, between two events; what is in the way, or None."""
        if mine.why:
            return f"the recording to {mine.path} was ended before it began"
        mine.began = clock.now()
        try:
            line = beginning(self._instance, mine.began, self._config(), self._snapshot(), mine.veil)
        except Exception as error:  # noqa: BLE001 (a stranger's policy may keep anything; serving goes on)
            return f"the state of the scheduler cannot be written: {type(error).__name__}: {error}"
        most = min(mine.most - _FOR_THE_END, LONGEST_LINE)
        if len(line) > most:
            return f"the state of the scheduler alone takes {len(line)} bytes, and {most} may be used"
        self._gather(mine, line)
        mine.behind = 0  # who waits now is no sign of a slow disk
        self._loop.record = lambda event, now, effects: self._take(mine, event, now, effects)
        log.info("recording to %s, at most %d MiB", mine.path, mine.most // 2**20)
        return None

    def _take(self, mine: _Open, event: Event, now: float, effects: Sequence[Effect] | None) -> None:
        """One event, after its effects were carried out."""
        try:
            line = happening(event, now, effects, self._config, mine.veil)
        except Exception as error:  # noqa: BLE001 (the same)
            self._end(mine, "failed", f"an event cannot be written: {type(error).__name__}: {error}")
            return
        if mine.size + len(line) > mine.most - _FOR_THE_END:
            self._end(mine, "limit", f"it reached its limit of {mine.most} bytes")
        elif mine.behind + len(line) > MOST_BEHIND:
            self._end(mine, "slow", f"the disk is too slow: {mine.behind} bytes wait for it")
        else:
            mine.events += 1
            self._gather(mine, line)

    @staticmethod
    def _gather(mine: _Open, line: bytes) -> None:
        if not mine.gathered:
            mine.something.set()
        mine.gathered.append(line)
        mine.size += len(line)
        mine.behind += len(line)
        if mine.behind >= AT_ONCE:
            mine.enough.set()

    def _end(self, mine: _Open, why: str, text: str) -> None:
        """No more events; the last line says why. Once."""
        if mine.why:
            return
        mine.why, mine.text, mine.seconds = why, text[:_LONGEST_TEXT], clock.now() - mine.began
        self._loop.record = None
        if mine.descriptor >= 0:
            self._gather(mine, encode(Ended(at=clock.now(), why=why, text=mine.text, events=mine.events)))
        mine.something.set()
        mine.enough.set()
        level = logging.INFO if why in ("stopped", "shutdown") else logging.ERROR
        log.log(level, "the recording to %s ended after %d events: %s", mine.path, mine.events, mine.text)

    async def _write_all(self, mine: _Open) -> None:
        """Hand over lines until the last one is written, or writing fails."""
        while not mine.why or mine.gathered:
            await mine.something.wait()
            with trio.move_on_after(WITHIN):
                await mine.enough.wait()
            mine.something, mine.enough = trio.Event(), trio.Event()
            chunk = b"".join(mine.gathered)
            mine.gathered.clear()
            try:
                await _in_thread(private_file.write, mine.descriptor, chunk)
            except OSError as error:
                self._end(mine, "failed", f"it cannot be written: {private_file.reason(error)}")
                mine.gathered.clear()
                return
            mine.behind = max(0, mine.behind - len(chunk))

    async def _close(self, mine: _Open) -> None:
        try:
            await _in_thread(os.close, mine.descriptor)
        except OSError as error:
            log.error("closing %s: %s", mine.path, private_file.reason(error))  # noqa: TRY400 (a line says all there is)
            mine.why, mine.text = "failed", f"it could not be written to its end: {private_file.reason(error)}"
        if self._now is mine:
            self._now, self._last = None, mine


def _unwritten(ended: _Open) -> str:
    return f"the recording to {ended.path} has ended ({ended.text}), and its last lines are being written"


async def _in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    """A disk may hang for ever; the end of the supervisor does not wait for it."""
    return await trio.to_thread.run_sync(work, *arguments, abandon_on_cancel=True)
