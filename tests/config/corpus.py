r"""The corpus: configuration files beside what they mean or what is said of them. Reads ``corpus/*.txt``.

::

    === a model needs a command | C6.1          a sentence, then rules of tests/compat/config.md
    models:                                     the file; with several, each begins with '+++ its name'
      a: {ttl: 5}                               ('--config' is config.yaml, '--config-dir' is conf.d/)
    --- environment                             NAME=value lines; without the section nothing is set
    --- means                                   path: JSON lines, a part of what 'check --print' shows;
    models.*: ["a"]                             '*' stands for the keys of a mapping, in their order
    --- problems                                all of them, in order; '...' at the end: it begins so
    2:6 error models.a: has no 'cmd', the command that starts its server
    --- schema: accepts (why)                   for an error that no JSON schema can find

After the rules, ``| escaped`` makes ``\xNN`` a byte, in the file and in the environment. Everything else is an
error: a corpus that is read wrongly shows nothing. Used by ``test_corpus.py`` and ``rules.py``.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "corpus"
SECTIONS = ("environment", "means", "problems", "schema")
CONFIG, CONFIG_DIR = "config.yaml", "conf.d"
_SECTION = re.compile(r"--- (\w+)(?:: accepts \((.+)\))?")
_PROBLEM = re.compile(r"(?:[\w./-]+ )?\d+:\d+ (error|warning|notice) \S.*")
_BYTE = re.compile(rb"\\x([0-9a-f]{2})")


class Malformed(Exception):
    """Something in a corpus file that is no part of the format; the text says where."""


@dataclass(frozen=True, slots=True)
class Case:
    """One configuration. ``where``: file and line of its first line, for people."""

    name: str
    where: str
    rules: tuple[str, ...]
    sources: Mapping[str, bytes]
    """Content by name, in the order of the corpus."""
    environment: Mapping[str, str]
    means: tuple[tuple[str, Any], ...]
    """Pairs of a path and the value that must stand there."""
    problems: tuple[str, ...]
    schema_accepts: str | None = None
    """Why a JSON schema cannot find what is wrong; None: it accepts valid cases and refuses the others."""

    @property
    def valid(self) -> bool:
        """Can this configuration be used?"""
        return not any(_severity(problem) == "error" for problem in self.problems)


def cases(folder: Path = FOLDER) -> list[Case]:
    """All of them. Raises ``Malformed``, also for a name that is used twice."""
    found = [case for file in sorted(folder.glob("*.txt")) for case in read(file.read_text(), file.name)]
    first: dict[str, Case] = {}
    for case in found:
        if first.setdefault(case.name, case) is not case:
            raise Malformed(f"{case.where}: the name {case.name!r} is used in {first[case.name].where}, too")
    return found


def read(text: str, name: str) -> Iterator[Case]:
    """The cases of one corpus file. What stands before the first one is for people."""
    lines = text.split("\n")
    begins = [number for number, line in enumerate(lines) if line.startswith("===")]
    for begin, end in pairwise([*begins, len(lines)]):
        try:
            yield _case(f"{name}:{begin + 1}", lines[begin], lines[begin + 1 : end])
        except Malformed as error:
            raise Malformed(f"{name}:{begin + 1}: {error}") from None


def _case(where: str, head: str, body: list[str]) -> Case:
    name, rules, escaped = _head(head)
    parts, schema_accepts = _sections(body)
    environment = dict(_environment(parts.get("environment", ()), escaped=escaped))
    case = Case(
        name=name,
        where=where,
        rules=rules,
        sources=dict(_sources(parts["file"], escaped=escaped)),
        environment=environment,
        means=tuple(_means(parts.get("means", ()))),
        problems=tuple(_problems(parts.get("problems", ()))),
        schema_accepts=schema_accepts,
    )
    if case.valid and schema_accepts is not None:
        raise Malformed("a valid case says nothing about the schema, which accepts it")
    if case.means and not case.valid:
        raise Malformed("a file with an error in it means nothing")
    if not case.means and not case.problems:
        raise Malformed("expected '--- means' or '--- problems'")
    return case


def _head(head: str) -> tuple[str, tuple[str, ...], bool]:
    name, *rest = (part.strip() for part in head.removeprefix("===").split("|"))
    if not name or not rest or not rest[0].split() or rest[1:] not in ([], ["escaped"]):
        raise Malformed("expected '=== a sentence | rules', perhaps with '| escaped'")
    rules = tuple(rest[0].split())
    if len(set(rules)) < len(rules):
        raise Malformed("names a rule twice")
    return name, rules, rest[1:] == ["escaped"]


def _sections(body: list[str]) -> tuple[dict[str, list[str]], str | None]:
    """The lines of each section, ``file`` before the first one; the reason after ``schema: accepts``."""
    parts: dict[str, list[str]] = {"file": []}
    here, schema_accepts = "file", None
    for line in body:
        if not line.startswith("--- "):
            if line.strip() or here == "file":
                parts[here].append(line)
            continue
        found = _SECTION.fullmatch(line)
        here = found[1] if found else ""
        if found is None or here not in SECTIONS or (here == "schema") != bool(found[2]):
            raise Malformed(f"{line!r} is no section")
        if here in parts or any(SECTIONS.index(other) > SECTIONS.index(here) for other in [*parts][1:]):
            raise Malformed(f"{line!r} is there twice or too late (the order is {', '.join(SECTIONS)})")
        parts[here] = []
        schema_accepts = found[2] or schema_accepts
    empty = [name for name, lines in parts.items() if not lines and name not in ("file", "schema")]
    if empty or parts.get("schema"):
        raise Malformed(f"'{empty[0] if empty else 'schema'}' has no lines, or lines that it must not have")
    return parts, schema_accepts


def _sources(lines: list[str], *, escaped: bool) -> Iterator[tuple[str, bytes]]:
    begins = [number for number, line in enumerate(lines) if line.startswith("+++")]
    if begins and begins[0] != 0:
        raise Malformed("the first of several files needs its '+++ name' line, too")
    if not begins:
        yield CONFIG, _bytes(lines, escaped=escaped)
    seen = set()
    for begin, end in pairwise([*begins, len(lines)]):
        name = lines[begin].removeprefix("+++").strip()
        if name in seen or not (name == CONFIG or name.startswith(f"{CONFIG_DIR}/")):
            raise Malformed(f"'+++ {name}' is there twice, or neither {CONFIG} nor in {CONFIG_DIR}/")
        seen.add(name)
        yield name, _bytes(lines[begin + 1 : end], escaped=escaped)


def _bytes(lines: Iterable[str], *, escaped: bool) -> bytes:
    plain = "".join(f"{line}\n" for line in lines).encode()
    return _BYTE.sub(lambda found: bytes([int(found[1], 16)]), plain) if escaped else plain


def _environment(lines: Iterable[str], *, escaped: bool) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, equals, value = line.partition("=")
        if not equals or not name.isidentifier():
            raise Malformed(f"{line!r} is no NAME=value")
        yield name, _bytes([value], escaped=escaped)[:-1].decode()


def _means(lines: Iterable[str]) -> Iterator[tuple[str, Any]]:
    for line in lines:
        path, colon, value = line.partition(": ")
        try:
            yield path, json.loads(value)
        except ValueError:
            raise Malformed(f"{line!r} is no 'path: JSON'{'' if colon else ' (a colon and a space)'}") from None


def _problems(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if not _PROBLEM.fullmatch(line):
            raise Malformed(f"{line!r} is no 'line:column severity path: text'")
        yield line


def _severity(problem: str) -> str:
    found = _PROBLEM.fullmatch(problem)
    return found[1] if found else ""
