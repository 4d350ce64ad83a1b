"""The file of a recording: what reached the scheduler core and what it decided, one JSON text a line.

The first line is ``Begun``, each further one an event (``Happened``), the last one ``Ended``, unless the supervisor was
killed. Events and effects have the names and fields of the scheduler's own vocabulary, which this file does not know.
Compatible by rule: a field is only ever added, with a default; ``VERSION`` rises when an older reader would understand
something wrong. Written by ``supervisor/recording/recorder.py``, read by ``tools/simulate/``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self

import msgspec
from msgspec import Struct

from protocol.errors import ProtocolError

FORMAT = "swapyard-recording"
VERSION = 1
LONGEST_LINE = 64 * 1024 * 1024
"""Bytes. The first line is the longest: it holds everybody who waits."""


class RecordingError(ProtocolError):
    """A file is no recording, or is damaged; the text names the file, the line and the remedy."""


class Begun(Struct, frozen=True, kw_only=True, tag_field="line", tag="begun"):
    """The core at the moment at which the recording began. Times are seconds of that machine's monotonic clock."""

    format: str = FORMAT
    version: int = VERSION
    at: float
    date: str = ""
    """The same moment for people: ISO 8601, UTC."""
    instance: str
    """Of the supervisor: part of the ids of leases."""
    hashed: bool = False
    """Names of models and callers stand for themselves no more, and texts are left out."""
    config: dict[str, Any]
    """What the scheduler reads of the configuration, under the keys of its file."""
    snapshot: dict[str, Any]
    """What ``Core.snapshot`` returned."""
    parking: bool = True
    """Workers may keep leases: no setting, so it is not in ``config``."""


class Happened(Struct, frozen=True, kw_only=True, tag_field="line", tag="event", omit_defaults=True):
    """One event and its effects: names of classes, and their fields."""

    at: float
    event: str
    fields: Any
    effects: list[tuple[str, Any]] = []
    ignored: bool = False
    """The phase table forbids it: it had no effect."""


class Ended(Struct, frozen=True, kw_only=True, tag_field="line", tag="ended"):
    """The last line. ``why``: stopped, limit, slow, failed or shutdown; ``text`` says it to people."""

    at: float
    why: str
    text: str
    events: int


Line = Begun | Happened | Ended

_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


class _First(Struct):
    """As much of any version as is needed to say which one it is."""

    format: str
    version: int


_decode_first = msgspec.json.Decoder(_First).decode


def encode(line: Line) -> bytes:
    """One line with its end. Raises ``TypeError`` for values that JSON does not have."""
    return _encode(line) + b"\n"


class Recording:
    """A file, read once from its beginning to its end, and closed at the end of the ``with`` that it is used in.

    ``begun`` is there at once, the events come from ``events``.
    """

    def __init__(self, path: Path) -> None:
        """Raises ``RecordingError`` for what is no recording of this version."""
        self._path = path
        self.notes: list[str] = []
        """What a reader should know of the end of the file; complete when ``events`` has ended."""
        self.ended: Ended | None = None
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise RecordingError(f"cannot read {path}: {error.strerror}") from None
        try:
            self.begun = self._first()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def events(self) -> Iterator[tuple[int, Happened]]:
        """Each event with the number of its line. Raises ``RecordingError`` where the file is damaged."""
        latest = self.begun.at
        for number, line in self._lines():
            if self.ended is not None:
                raise self._error(number, "there is something after the end")
            found = self._decoded(number, line)
            if isinstance(found, Ended):
                self.ended = found
                continue
            if not isinstance(found, Happened):
                raise self._error(number, "a second beginning; two recordings in one file cannot be read")
            if found.at < latest:
                raise self._error(number, f"its time is {latest - found.at:g} s before that of the line above")
            latest = found.at
            yield number, found
        self._note_end()

    def _first(self) -> Begun:
        line = self._line(1)
        if line is None:
            raise RecordingError(f"{self._path} is empty; 'swapctl record start' makes recordings")
        try:
            first = _decode_first(line)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            first = None
        if first is None or first.format != FORMAT:
            raise RecordingError(f"{self._path} is no recording; 'swapctl record start' makes one")
        if first.version > VERSION:
            text = f"is of version {first.version}, and this swapyard reads up to {VERSION}; use a newer one"
            raise RecordingError(f"{self._path} {text}")
        if not line.endswith(b"\n"):
            raise self._error(1, "the file ends in the middle of its first line, so nothing of it can be used")
        begun = self._decoded(1, line)
        if not isinstance(begun, Begun):
            raise self._error(1, "a recording begins with its beginning")
        return begun

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        number = 2
        while (line := self._line(number)) is not None:
            if not line.endswith(b"\n"):
                self.notes.append(f"line {number} is cut off, as after a crash; it is left out")
                return
            yield number, line
            number += 1

    def _line(self, number: int) -> bytes | None:
        try:
            line = self._file.readline(LONGEST_LINE)
        except OSError as error:
            raise RecordingError(f"cannot read {self._path}: {error.strerror}") from None
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            raise self._error(number, f"longer than {LONGEST_LINE // 2**20} MiB, so this is no recording")
        return line or None

    def _decoded(self, number: int, line: bytes) -> Line:
        try:
            return _decoder.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise self._error(number, f"damaged: {error}") from None

    def _note_end(self) -> None:
        if self.ended is None:
            self.notes.append("the recording has no end: its supervisor was killed, or it is still going on")
        elif self.ended.why != "stopped":
            self.notes.append(f"the recording ended by itself: {self.ended.text}")

    def _error(self, number: int, text: str) -> RecordingError:
        return RecordingError(f"{self._path}, line {number}: {text}")
