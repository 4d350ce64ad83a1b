"""The patches in ``tests/mutants`` are fit for ``make mutants``: each says what it breaks, applies, and names tests."""

import ast
import subprocess  # noqa: TID251 (asks git, which is what applies the patches)
from pathlib import Path

import pytest

from tools.dev.mutants import MUTANTS, ROOT, lines_of

PATCHES = sorted(MUTANTS.glob("*.patch"))


def names_in(file: Path) -> set[str]:
    nodes = ast.walk(ast.parse(file.read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_there_are_many_and_each_breaks_a_rule_of_its_own() -> None:
    assert len(PATCHES) >= 25
    rules = [rule for patch in PATCHES for rule in lines_of(patch, "rule")]
    assert len(rules) == len(set(rules)) == len(PATCHES)


@pytest.mark.parametrize("patch", PATCHES, ids=[patch.stem for patch in PATCHES])
def test_it_applies_and_names_tests_that_exist(patch: Path) -> None:
    command = ["git", "apply", "--check", "--recount", str(patch)]
    applied = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert applied.returncode == 0, applied.stderr
    assert lines_of(patch, "test")
    for node in lines_of(patch, "test"):
        file, _, name = node.partition("::")
        assert name.partition("[")[0] in names_in(ROOT / file)
