"""Which rule of ``tests/compat/config.md`` is exercised by what: cases of the corpus, and tests that claim it.

Every bullet, numbered step and row of a table there is a rule with an id such as ``C5.12``. A test elsewhere claims
one with ``@pytest.mark.rule("C12.3")``; claims are read from the source, so that they count whatever part of the
suite runs. Rules marked ``«background: why»`` need nothing. ``make rules`` prints the table;
``test_rules_covered.py`` holds it.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.config import corpus

TESTS = Path(__file__).parents[1]
FACTS = TESTS / "compat" / "config.md"
_ID = r"(C\d+(?:\.\d+)+)"
_SECTION = re.compile(r"#+ (\d+(?:\.\d+)?)\.? ")
_RULE = re.compile(rf"\s*(?:\* |- |\d+\. |\| )?{_ID} (.*)")
_ITEM = re.compile(r"\s*(?:\* |- |\d+\. |\|)")
_TABLE_HEAD = re.compile(r"\| rule \||\|[-|]+$")
_BACKGROUND = re.compile(r"«background: ([^»]+)»")


@dataclass(frozen=True, slots=True)
class Rule:
    """One fact. ``background``: why nothing exercises it, or None."""

    id: str
    text: str
    section: str
    background: str | None


def facts(text: str) -> tuple[list[Rule], list[str]]:
    """The rules in their order, and the lines that should have an id and have none."""
    found: list[tuple[str, str, list[str]]] = []
    nameless = []
    section = ""
    for line in text.splitlines():
        head, rule = _SECTION.match(line), _RULE.match(line)
        if head:
            section = head[1]
        elif rule:
            found.append((rule[1], section, [rule[2]]))
        elif section and _ITEM.match(line) and not _TABLE_HEAD.match(line):
            nameless.append(line)
        elif line.startswith(" ") and found:
            found[-1][2].append(line.strip())
        elif "«" in line and found:
            found[-1][2].append(line)
    rules = []
    for name, where, lines in found:
        whole = " ".join(lines)
        mark = _BACKGROUND.search(whole)
        rules.append(Rule(name, whole, where, mark[1] if mark else None))
    return rules, nameless


def claims(cases: Iterable[corpus.Case], tests: Path = TESTS) -> dict[str, list[str]]:
    """What exercises each rule: cases by their names, tests by path and function."""
    found: dict[str, list[str]] = {}
    for case in cases:
        for rule in case.rules:
            found.setdefault(rule, []).append(f"{case.where.partition(':')[0]}: {case.name}")
    for file in sorted(tests.rglob("test_*.py")):
        for rule, test in marked(file.read_text()):
            found.setdefault(rule, []).append(f"{file.relative_to(tests.parent)}::{test}")
    return found


def marked(source: str) -> Iterator[tuple[str, str]]:
    """Pairs of a rule and the function that claims it; functions that may not run claim nothing."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        calls = {ast.unparse(entry.func if isinstance(entry, ast.Call) else entry) for entry in node.decorator_list}
        if calls & {"pytest.mark.long", "pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"}:
            continue
        for entry in node.decorator_list:
            if isinstance(entry, ast.Call) and ast.unparse(entry.func) == "pytest.mark.rule":
                yield from ((str(ast.literal_eval(argument)), node.name) for argument in entry.args)


def report(rules: Iterable[Rule], claimed: Mapping[str, list[str]]) -> Iterator[str]:
    """Each rule with what exercises it, one line each."""
    for rule in rules:
        yield f"{rule.id}  {_short(rule.text)}"
        lines = claimed.get(rule.id) or [f"(background: {rule.background})" if rule.background else "NOTHING"]
        yield from (f"    {line}" for line in lines)


def _short(text: str) -> str:
    plain = text.strip("| ").replace("**", "")
    return plain if len(plain) <= 90 else plain[:89] + "…"


def main() -> None:
    """Print the table and a line that sums it up."""
    rules, _ = facts(FACTS.read_text())
    cases = corpus.cases()
    for line in report(rules, claims(cases)):
        sys.stdout.write(f"{line}\n")
    background = sum(rule.background is not None for rule in rules)
    sys.stdout.write(f"{len(rules)} rules, {background} of them background; {len(cases)} cases\n")


if __name__ == "__main__":
    main()
