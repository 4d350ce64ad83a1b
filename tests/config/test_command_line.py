"""Splitting commands (``tests/compat/config.md`` §6.1)."""

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.command_line import split


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a  b\tc\nd", ("a", "b", "c", "d")),
        ("a \\\n  b", ("a", "b")),
        ("a --x \\  \n b", ("a", "--x", "b")),
        ("# all gone\na # stays\n  # gone\nb", ("a", "#", "stays", "b")),
        ("'a b' \"c d\" e'f'g", ("a b", "c d", "efg")),
        (r'"a\"b" "\$x" "\n" "a\\b"', ('a"b', "$x", r"\n", r"a\b")),
        (r"a\ b '\x' \'", ("a b", r"\x", "'")),
        ("'not closed b", ("not closed b",)),
        ('a "" b', ("a", "", "b")),
        ("", ()),
        ("  \n # x\n", ()),
        ("a\\", ("a",)),
        # The line rule comes first: a backslash at the end of a line becomes a space.
        ('"x\\\ny"', ("x \ny",)),
    ],
)
def test_rules(text: str, words: tuple[str, ...]) -> None:
    assert split(text) == words


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.lists(st.text(st.characters(blacklist_characters="\n\r\x00", blacklist_categories=["Cs"]), max_size=10)))
def test_what_a_shell_would_quote_comes_back_whole(words: list[str]) -> None:
    assert split("x " + shlex.join(words)) == ("x", *words)
