"""The JSON schema and the corpus: what the loader takes fits, what it refuses does not, unless the case says why."""

import re

import pytest

from tests.config.beyond_schema import BEYOND
from tests.config.corpus import CONFIG, Case, cases
from tests.config.test_json_schema import VALIDATOR, instance

UNREADABLE = re.compile(
    r"error (not YAML|is not UTF-8|the top level must be|\S+: aliases, nesting or sheer number|models\[0\]\[0\])"
)
"""Of such a file there is no instance."""
EXPANDED = re.compile("no macros|no environment")
"""Reasons: what is wrong is anything, once values are expanded."""
ONE_FILE = [case for case in cases() if [*case.sources] == [CONFIG] and not UNREADABLE.search(" ".join(case.problems))]
BEYOND_SCHEMA = [case for case in ONE_FILE if case.schema_accepts and not EXPANDED.search(case.schema_accepts)]


@pytest.mark.parametrize("case", ONE_FILE, ids=lambda case: case.name)
def test_the_schema_takes_and_refuses_what_the_loader_does(case: Case) -> None:
    written = case.sources[CONFIG].decode("utf-8-sig")
    errors = [error.message for error in VALIDATOR.iter_errors(instance(written))]
    assert (errors == []) == (case.valid or case.schema_accepts is not None), f"{case.where}: {errors}"


@pytest.mark.parametrize("case", BEYOND_SCHEMA, ids=lambda case: case.name)
def test_what_only_the_loader_refuses_is_on_the_list(case: Case) -> None:
    errors = [problem for problem in case.problems if " error " in problem]
    unlisted = [error for error in errors if not any(re.search(pattern, error) for pattern in BEYOND.values())]
    assert unlisted == [], case.where
