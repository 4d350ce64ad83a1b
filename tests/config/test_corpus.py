"""Every case of the corpus (``corpus.py`` tells its format), each as a file that ``swapyard check`` would read."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.check import load
from config.errors import Problem, Severity
from config.show import shown
from config.sources import Sources
from tests.config.corpus import CONFIG, CONFIG_DIR, Case, Malformed, cases, read
from tools.check import refused_by_parts

PROGRAMS = ("sh", "sleep", "llama-server", "vllm", "whisper-server", "sd-server", "python3", "docker")
"""What a configuration of the corpus may start; everything else is a program that does not exist."""
SECRET = "hush"
"""Every secret of the corpus has this in it."""
CASES = cases()


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    for name in PROGRAMS:
        (folder / name).touch(0o755)
    return folder


@pytest.fixture
def environment(programs: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing is set but where programs are."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", str(programs))
    return monkeypatch


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_of_the_corpus_means_or_says_what_stands_beside_it(
    case: Case, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    for name, value in case.environment.items():
        environment.setenv(name, value)
    for name, content in case.sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    one = tmp_path / CONFIG if CONFIG in case.sources else None
    several = [*case.sources] != [CONFIG]
    loaded = load(Sources(one, tmp_path / CONFIG_DIR if several else None))
    found = (*loaded.problems, *refused_by_parts(loaded))
    problems = sorted(found, key=lambda problem: (problem.file, problem.line, problem.column))
    lines = [said(problem, tmp_path, several=several) for problem in problems]
    expected = [*case.problems, *[""] * len(lines)]
    assert [*map(shortened, lines, expected)] == [*case.problems], case.where
    assert case.valid == all(problem.severity is not Severity.ERROR for problem in problems), case.where
    print_output = {} if loaded.settings is None else shown(loaded.settings)
    for path, value in case.means:
        assert ordered(at(print_output, path)) == ordered(value), f"{case.where}: {path}"
    assert SECRET not in json.dumps(print_output), case.where
    assert not [problem for problem in problems if SECRET in str(problem)], case.where


def said(problem: Problem, folder: Path, *, several: bool) -> str:
    """A problem as the corpus writes it; with the name of its file only if there are several."""
    line = str(problem).replace(f"{folder}/", "")
    line = re.sub(r"^([^:]+):(\d+:\d+): (\w+): ", r"\1 \2 \3 ", line)
    return line if several else line.removeprefix(f"{CONFIG} ")


def shortened(line: str, expected: str) -> str:
    """The line, or what is expected if that gives only its beginning."""
    return expected if expected.endswith("...") and line.startswith(expected[:-3]) else line


def at(value: Any, path: str) -> Any:
    """The value at a dotted path; keys may have dots in them, numbers count in lists, ``*`` lists the keys."""
    if not path:
        return value
    if path == "*":
        return list(value)
    for head, rest in splits(path):
        if isinstance(value, dict) and head in value:
            return at(value[head], rest)
        if isinstance(value, list) and head.isdigit() and int(head) < len(value):
            return at(value[int(head)], rest)
    raise AssertionError(f"nothing is shown at {path!r} of {value!r}")


def splits(path: str) -> Iterator[tuple[str, str]]:
    """Each way to take the first key off, the longest first."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        yield ".".join(parts[:count]), ".".join(parts[count:])


def ordered(value: Any) -> Any:
    """The value in a form in which the order of keys counts, and ``true`` is not 1."""
    match value:
        case dict():
            return [(key, ordered(entry)) for key, entry in value.items()]
        case list() | tuple():
            return [ordered(entry) for entry in value]
        case bool():
            return str(value)
    return value


GOOD = "=== a name | C1.1\nmodels: {}\n--- means\nmodels: {}\n"


def test_a_corpus_file_is_read_with_all_its_parts() -> None:
    text = (
        "For people.\n"
        "=== one | C1.1 C2.3 | escaped\n+++ config.yaml\na: \\x00\n\n+++ conf.d/b.yaml\nb: 1\n"
        "--- environment\nX=a\\x0ab=c\n--- problems\nconf.d/b.yaml 1:1 error b: what\n--- schema: accepts (it does)\n\n"
        "=== two | C1.1\nc: 1\n--- means\na.b: [1]\n"
    )
    one, two = read(text, "x.txt")
    assert (one.name, one.where, one.rules, one.valid) == ("one", "x.txt:2", ("C1.1", "C2.3"), False)
    assert one.sources == {"config.yaml": b"a: \0\n\n", "conf.d/b.yaml": b"b: 1\n"}
    assert one.environment == {"X": "a\nb=c"}
    assert (one.problems, one.schema_accepts) == (("conf.d/b.yaml 1:1 error b: what",), "it does")
    assert (two.sources, two.means, two.valid) == ({"config.yaml": b"c: 1\n"}, (("a.b", [1]),), True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("=== no rules\na: 1\n--- means\na: 1\n", "expected '=== a sentence | rules'"),
        ("=== twice | C1.1 C1.1\na: 1\n--- means\na: 1\n", "names a rule twice"),
        (GOOD.replace("C1.1", "C1.1 | shouted"), "expected '=== a sentence | rules'"),
        (GOOD + "--- meens\nx: 1\n", "is no section"),
        (GOOD + "--- means\nx: 1\n", "there twice or too late"),
        (GOOD + "--- environment\nX=1\n", "there twice or too late"),
        (GOOD + "--- problems\n", "'problems' has no lines"),
        (GOOD + "--- problems\n1: error x\n", "is no 'line:column severity path: text'"),
        (GOOD + "--- problems\n1:1 error x: y\n", "a file with an error in it means nothing"),
        (GOOD + "--- schema: accepts (so)\n", "a valid case says nothing about the schema"),
        (GOOD + "--- schema: refuses (so)\n", "is no section"),
        (
            GOOD.replace("models: {}\n--", "models: 1 x\n--").replace("means\nmodels: {}", "means\nmodels: {"),
            "no 'path: JSON'",
        ),
        ("=== nothing | C1.1\na: 1\n", "expected '--- means' or '--- problems'"),
        (GOOD.replace("models: {}\n--", "a: 1\n+++ config.yaml\n--"), "the first of several files"),
        (GOOD.replace("models: {}\n--", "+++ elsewhere.yaml\n--"), "neither config.yaml nor in conf.d/"),
        (GOOD.replace("--- means", "--- environment\n1X\n--- means"), "is no NAME=value"),
    ],
)
def test_whatever_is_no_part_of_the_format_is_refused(text: str, words: str) -> None:
    with pytest.raises(Malformed, match=re.escape(words)):
        list(read(text, "x.txt"))


def test_a_name_that_is_used_twice_is_refused(tmp_path: Path) -> None:
    for file in ("a.txt", "b.txt"):
        (tmp_path / file).write_text(GOOD)
    with pytest.raises(Malformed, match=r"b\.txt:1: the name 'a name' is used in a\.txt:1, too"):
        cases(tmp_path)
