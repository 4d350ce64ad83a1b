"""The kept output of a model."""

from collections.abc import Sequence

from supervisor.process.output import LONGEST_LINE, MOST_BYTES, OutputRing


def ring() -> tuple[OutputRing, list[tuple[int, list[str]]]]:
    told: list[tuple[int, list[str]]] = []

    def on_lines(first: int, lines: Sequence[str]) -> None:
        told.append((first, list(lines)))

    return OutputRing(on_lines), told


def test_lines_are_numbered_and_told_once_for_each_read() -> None:
    output, told = ring()
    output.append(b"one\ntw")
    output.append(b"o\nthree\n")
    assert told == [(1, ["one"]), (2, ["two", "three"])]
    assert output.snapshot() == (1, ["one", "two", "three"])


def test_the_last_line_is_kept_even_if_it_is_not_finished() -> None:
    output, told = ring()
    output.append(b"almost")
    assert told == []
    output.flush()
    output.flush()
    assert told == [(1, ["almost"])]


def test_old_lines_go_and_numbers_stay_true() -> None:
    output, _ = ring()
    for number in range(1, 5001):
        output.append(f"line {number} {'x' * 50}\n".encode())
    first, lines = output.snapshot()
    assert sum(len(line) + 1 for line in lines) <= MOST_BYTES
    assert lines[0].startswith(f"line {first} ")
    assert lines[-1].startswith("line 5000 ")


def test_a_line_without_an_end_and_bytes_that_are_no_text_are_bounded_and_shown() -> None:
    output, told = ring()
    output.append(b"x" * (3 * LONGEST_LINE + 5))
    output.append(b"\xff\r\n")
    lines = [line for _, batch in told for line in batch]
    assert [len(line) for line in lines[:3]] == [LONGEST_LINE] * 3
    assert lines[3] == "xxxxx\ufffd"
