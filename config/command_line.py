"""Splitting ``cmd`` and ``cmdStop`` into arguments (``tests/compat/config.md`` §6.1). No shell is involved.

Comment lines go, a backslash at a line's end joins it with the next, the rest follows POSIX quoting; an
unterminated quote takes the rest. Called by ``resolve.py``.
"""

import re

_SPACES = " \t\n"
_ORDINARY = re.compile(r"[^ \t\n\\'\"]+")
_ESCAPED_IN_QUOTES = '$`"\\'


def split(text: str) -> tuple[str, ...]:
    """The arguments; none at all for blank text."""
    return tuple(_tokens(_join_lines(text)))


def without_comments(text: str) -> str:
    """Without comment lines. Placeholders are replaced after this, so those in a comment mean nothing (§3)."""
    if "#" not in text:
        return text
    return "\n".join(line for line in text.split("\n") if not line.strip().startswith("#"))


def _join_lines(text: str) -> str:
    lines = []
    for line in without_comments(text).split("\n"):
        stripped = line.strip()
        lines.append(stripped[:-1] + " " if stripped.endswith("\\") else line)
    return "\n".join(lines)


def _tokens(text: str) -> list[str]:
    found: list[str] = []
    current: str | None = None
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if char in _SPACES:
            if current is not None:
                found.append(current)
            current = None
        elif char == "\\":
            if text[position : position + 1] not in ("", "\n"):
                current = (current or "") + text[position]
            position += 1
        elif char in "'\"":
            part, position = _quoted(text, position, char)
            current = (current or "") + part
        elif run := _ORDINARY.match(text, position - 1):
            current = (current or "") + run[0]
            position = run.end()
    return [*found, current] if current is not None else found


def _quoted(text: str, position: int, quote: str) -> tuple[str, int]:
    """What stands in quotes from ``position`` on, and where it goes on after them."""
    part = ""
    while position < len(text) and text[position] != quote:
        following = text[position + 1 : position + 2]
        if quote == '"' and text[position] == "\\" and following and following in _ESCAPED_IN_QUOTES + "\n":
            part += "" if following == "\n" else following
            position += 2
        else:
            part += text[position]
            position += 1
    return part, position + 1
