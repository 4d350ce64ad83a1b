"""Reading recordings: what is none, what is damaged and where, what a crash leaves behind."""

from pathlib import Path

import pytest

from protocol.recording import VERSION, Begun, Ended, Happened, Recording, RecordingError, encode

BEGUN = Begun(at=1.0, instance="i", config={}, snapshot={})
HAPPENED = Happened(at=2.0, event="DeadlineReached", fields={})
ENDED = Ended(at=3.0, why="stopped", text="as asked", events=1)


def written(path: Path, *lines: bytes) -> Path:
    file = path / "recording"
    file.write_bytes(b"".join(lines))
    return file


def read(file: Path) -> tuple[list[Happened], list[str]]:
    with Recording(file) as recording:
        return [row for _, row in recording.events()], recording.notes


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    file = written(tmp_path, encode(BEGUN), encode(HAPPENED), encode(ENDED))
    assert read(file) == ([HAPPENED], [])
    with Recording(file) as recording:
        assert recording.begun == BEGUN


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (b"", "is empty"),
        (b"hello\n", "is no recording; 'swapctl record start' makes one"),
        (b'{"format": "something", "version": 1}\n', "is no recording"),
        (encode(BEGUN)[:-9], "is no recording"),
        (encode(BEGUN)[:-1], "ends in the middle of its first line"),
        (
            encode(BEGUN).replace(b'"version":1', b'"version":99'),
            f"is of version 99, and this swapyard reads up to {VERSION}",
        ),
        (encode(BEGUN).replace(b'"at":1.0,', b""), "line 1: damaged"),
    ],
)
def test_a_file_that_is_no_recording_of_this_version_is_refused(tmp_path: Path, first: bytes, words: str) -> None:
    with pytest.raises(RecordingError, match=words):
        Recording(written(tmp_path, first))


def test_a_file_that_is_not_there_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"cannot read .*nothing: No such file"):
        Recording(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"\xff\xfe\n", "damaged"),
        (b"\n", "damaged"),
        (b'{"line":"event","at":2.0}\n', "damaged.*event"),
        (b'{"line":"song"}\n', "damaged.*song"),
        (encode(BEGUN), "a second beginning"),
        (encode(Happened(at=1.5, event="DeadlineReached", fields={})), "its time is 0.5 s before"),
        (encode(ENDED) + encode(HAPPENED), "something after the end"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes, words: str) -> None:
    file = written(tmp_path, encode(BEGUN), encode(HAPPENED), line, encode(ENDED))
    with pytest.raises(RecordingError, match=f"{file}, line [34]: .*{words}"):
        read(file)


def test_a_line_that_never_ends_is_no_line_of_a_recording(tmp_path: Path) -> None:
    file = written(tmp_path, encode(BEGUN), b" " * (64 * 2**20 + 1))
    with pytest.raises(RecordingError, match="line 2: longer than 64 MiB"):
        read(file)


def test_a_last_line_that_was_cut_off_is_left_out_with_a_note(tmp_path: Path) -> None:
    file = written(tmp_path, encode(BEGUN), encode(HAPPENED), encode(HAPPENED)[:-10])
    rows, notes = read(file)
    assert rows == [HAPPENED]
    assert notes[0] == "line 3 is cut off, as after a crash; it is left out"
    assert "the recording has no end" in notes[1]


def test_an_end_that_nobody_asked_for_is_told(tmp_path: Path) -> None:
    ended = Ended(at=3.0, why="limit", text="it reached its limit", events=0)
    assert read(written(tmp_path, encode(BEGUN), encode(ended))) == (
        [],
        ["the recording ended by itself: it reached its limit"],
    )


def test_fields_that_a_later_version_adds_are_passed_over(tmp_path: Path) -> None:
    file = written(tmp_path, encode(BEGUN).replace(b'"at"', b'"mood":"good","at"'), encode(ENDED))
    assert read(file) == ([], [])
