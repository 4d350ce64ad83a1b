"""Traces: what a line means, and what is said of a bad one."""

from pathlib import Path

import pytest

from tools.simulate import trace
from tools.simulate.trace import BadTrace, read
from tools.simulate.world import Arrival

NAMES = {"chat": "chat", "gpt-4o": "chat", "embed": "embed"}
GOOD = '{"at": 0, "model": "chat", "service": 1}'


def write(folder: Path, text: str | bytes) -> Path:
    file = folder / "requests.jsonl"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_a_line_is_a_request_and_comments_and_empty_lines_are_none(tmp_path: Path) -> None:
    text = """\
# made by hand

{"at": 1.5, "model": "gpt-4o", "service": 2, "caller": "ann", "cancelAfter": 30, "deadline": 60}
{"at": 2, "model": "embed", "service": 0.25, "caller": null}
"""
    found = read(write(tmp_path, text), NAMES)
    assert list(found) == [Arrival(1.5, "chat", 2.0, "ann", 30.0, 60.0), Arrival(2.0, "embed", 0.25)]
    assert list(found) == list(found), "each policy reads it anew"


def test_requests_are_put_in_the_order_of_time_and_equal_times_keep_that_of_the_file(tmp_path: Path) -> None:
    lines = [f'{{"at": {at}, "model": "chat", "service": {number}}}' for number, at in enumerate([5, 1, 5, 0])]
    assert [arrival.service for arrival in read(write(tmp_path, "\n".join(lines)), NAMES)] == [3, 1, 0, 2]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "it is not JSON: Expecting property name enclosed in double quotes (column 2)"),
        ("[1]", 'expected an object, such as {"at": 0, "model": "chat", "service": 2.5}'),
        ("7", "expected an object"),
        ('{"at": 0, "model": "chat"}', "'service' is missing"),
        ('{"model": "chat", "service": 1}', "'at' is missing"),
        ('{"at": 0, "model": "chta", "service": 1}', "there is no model \"chta\"; did you mean 'chat'?"),
        ('{"at": 0, "model": 4, "service": 1}', "'model': found 4, expected text"),
        ('{"at": -1, "model": "chat", "service": 1}', "'at': found -1, expected a number of seconds, 0 or more"),
        ('{"at": "0", "model": "chat", "service": 1}', "'at': found \"0\", expected a number of seconds"),
        ('{"at": true, "model": "chat", "service": 1}', "'at': found true, expected a number of seconds"),
        ('{"at": 0, "model": "chat", "service": null}', "'service': found null, expected a number of seconds"),
        ('{"at": NaN, "model": "chat", "service": 1}', "'at': found NaN, expected a number of seconds"),
        ('{"at": Infinity, "model": "chat", "service": 1}', "expected a number of seconds, 0 or more (at most 1e+12)"),
        ('{"at": 1e300, "model": "chat", "service": 1}', "(at most 1e+12)"),
        ('{"at": 0, "model": "chat", "service": 1, "caller": 5}', "'caller': found 5, expected text"),
        ('{"at": 0, "model": "chat", "service": 1, "cancel_after": 5}', 'there is no key "cancel_after"; did you mean'),
        (
            '{"at": 0, "model": "chat", "service": 1, "deadline": "soon"}',
            "'deadline': found \"soon\", expected a number",
        ),
        ("[" * 10_000, "it is not JSON"),
        ('{"at": ' + "9" * 10_000 + "}", "it is not JSON that can be read: too deep, or a number with too many digits"),
        ('{"' + "x" * 60_000 + '": 1}', 'there is no key "xxxx'),
        ("x" * 70_000, "the line is longer than 65,536 bytes"),
    ],
)
def test_a_bad_line_is_told_with_its_file_and_number(line: str, said: str, tmp_path: Path) -> None:
    file = write(tmp_path, f"{GOOD}\n\n{line}\n{GOOD}\n")
    with pytest.raises(BadTrace) as caught:
        read(file, NAMES)
    text = str(caught.value)
    assert text.startswith(f"{file}:3: ")
    assert said in text
    assert len(text) < len(str(file)) + 250
    assert "\n" not in text


def test_a_line_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadTrace, match="it is not UTF-8"):
        read(write(tmp_path, b'{"at": 0, "model": "\xff"}'), NAMES)


def test_a_file_that_is_missing_empty_or_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadTrace, match="cannot be read: No such file"):
        read(tmp_path / "none.jsonl", NAMES)
    with pytest.raises(BadTrace, match="cannot be read: Is a directory"):
        read(tmp_path, NAMES)
    with pytest.raises(BadTrace, match="there is no request in it"):
        read(write(tmp_path, "# nothing\n"), NAMES)


def test_the_number_of_requests_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MOST_REQUESTS", 3)
    assert len(read(write(tmp_path, f"{GOOD}\n" * 3), NAMES)) == 3
    with pytest.raises(BadTrace, match=":4: more than 3 requests"):
        read(write(tmp_path, f"{GOOD}\n" * 4), NAMES)
