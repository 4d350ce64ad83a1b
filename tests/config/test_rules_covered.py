"""Every rule of ``tests/compat/config.md`` is exercised by a case of the corpus or by a test that claims it."""

import re
from pathlib import Path

from tests.config import corpus
from tests.config.rules import FACTS, Rule, claims, facts, marked, report

RULES, NAMELESS = facts(FACTS.read_text())
CASES = corpus.cases()
CLAIMS = claims(CASES)


def test_no_rule_is_without_a_case() -> None:
    print("\n".join(report(RULES, CLAIMS)))
    missing = [rule for rule in RULES if rule.id not in CLAIMS and rule.background is None]
    assert not missing, "\n".join(report(missing, {}))


def test_every_claim_is_of_a_rule_that_exists() -> None:
    known = {rule.id for rule in RULES}
    assert {name: by for name, by in CLAIMS.items() if name not in known} == {}


def test_every_fact_has_an_id_in_the_order_of_its_section() -> None:
    assert NAMELESS == []
    number: dict[str, int] = {}
    for rule in RULES:
        number[rule.section] = number.get(rule.section, 0) + 1
        assert rule.id == f"C{rule.section}.{number[rule.section]}"
    assert len({rule.id for rule in RULES}) == len(RULES)


def test_background_rules_are_few_and_exercised_by_nobody() -> None:
    background = [rule.id for rule in RULES if rule.background is not None]
    assert len(background) <= len(RULES) // 12
    assert [name for name in background if name in CLAIMS] == []


def test_there_are_at_least_two_hundred_cases_and_many_of_each_kind() -> None:
    assert len(CASES) >= 200
    valid = sum(case.valid for case in CASES)
    assert min(valid, len(CASES) - valid) >= 80


def test_a_rule_without_a_case_would_be_found(tmp_path: Path) -> None:
    text = "## 1. Things\n* C1.1 One. «background: nobody\n  sees it»\n* C1.2 Two.\n* Three.\n| C1.3 | `x` |\n"
    rules, nameless = facts(text)
    assert rules == [
        Rule("C1.1", "One. «background: nobody sees it»", "1", "nobody sees it"),
        Rule("C1.2", "Two.", "1", None),
        Rule("C1.3", "| `x` |", "1", None),
    ]
    assert nameless == ["* Three."]
    (tmp_path / "test_x.py").write_text("@pytest.mark.rule('C1.3')\nasync def test_it() -> None: ...\n")
    claimed = claims([], tmp_path)
    assert [*report(rules, claimed)][3:] == ["    NOTHING", "C1.3  `x`", f"    {tmp_path.name}/test_x.py::test_it"]


def test_a_test_that_may_be_left_out_claims_nothing() -> None:
    source = "@pytest.mark.rule('C1.1', 'C1.2')\n{}def test_it(): ...\n"
    assert [*marked(source.format(""))] == [("C1.1", "test_it"), ("C1.2", "test_it")]
    for mark in ("long", "skip(reason='x')", "xfail"):
        assert not [*marked(source.format(f"@pytest.mark.{mark}\n"))]


def test_the_sections_that_docstrings_cite_exist() -> None:
    root = FACTS.parents[2]
    text = FACTS.read_text()
    for file in [*root.glob("*/**/*.py")]:
        if ".venv" in file.parts:
            continue
        for section in re.findall(r"compat/config\.md`` §(\d+(?:\.\d+)?)", file.read_text()):
            assert re.search(rf"^##+ {re.escape(section)}\.? ", text, re.MULTILINE), (file, section)
