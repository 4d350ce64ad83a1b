"""The reader as a whole: whatever it is given, it says what is wrong. What files mean: ``test_corpus.py``."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from config import keys
from config.check import load, load_text
from config.errors import Severity
from config.types import Settings


def good(text: str) -> Settings:
    loaded = load_text(text)
    assert loaded.settings is not None, loaded.problems
    return loaded.settings


def test_an_empty_file_is_a_valid_configuration_without_models() -> None:
    for text in ("", "# nothing\n", "~", "{}"):
        assert good(text) == Settings()


def test_keys_keep_the_text_that_was_written() -> None:
    assert good("apiKeys: [017, 1e5, 12:30, 0x1F, true]\n").api_keys == ("017", "1e5", "12:30", "0x1F", "true")


def test_a_problem_is_one_line_with_file_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("models: 5\n")
    (problem,) = load(file).problems
    assert str(problem) == f"{file}:1:9: error: models: found '5', expected a mapping"


def test_an_error_after_very_many_warnings_still_refuses_the_file() -> None:
    loaded = load_text("".join(f"unknown{n}: 1\n" for n in range(3000)) + "startPort: x\n")
    assert loaded.settings is None
    assert len(loaded.problems) == 3001


def test_files_that_cannot_be_read_are_problems(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in str(load(tmp_path / "none.yaml").problems[0])
    assert "cannot be read: Is a directory" in str(load(tmp_path).problems[0])
    (tmp_path / "latin").write_bytes(b"a: 1\nname: \xe4\n")
    assert str(load(tmp_path / "latin").problems[0]).endswith("latin:2:7: error: is not UTF-8 text")


WORDS = st.sampled_from(
    ["models", "a", "cmd", "${PORT}", "ttl", "groups", "members", ":", "-", "{", "}", "[", "]", "\n", "  ", "&x", "*x",
     "<<", "apiKeys", "1e999", "~", "'", '"', "!!int", "|", ">", "?", "%YAML 1.3", "---", "\t", ".inf", "-.nan", "\x07",
     "\\ud800", "\\UFFFFFFFF", "\\0"]
)  # fmt: skip


@settings(max_examples=800, derandomize=True, deadline=None)
@given(st.one_of(st.text(max_size=80), st.lists(WORDS, max_size=30).map("".join), st.lists(WORDS).map(" ".join)))
def test_no_text_raises(text: str) -> None:
    loaded = load_text(text)
    assert loaded.settings is not None or loaded.problems


LEAVES = st.one_of(
    st.sampled_from(["sh ${PORT}", "${MODEL_ID}", "${x}", "${env.X}", "http://h:70000", "http://[", "none", "-1", "~",
                     "9" * 5000, "64MiB", "yes", "\ud800", "\0", "a", "b"]),
    st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=5),
)  # fmt: skip
VALUES = st.one_of(LEAVES, st.lists(LEAVES, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "cmd"]), LEAVES))
ENTRIES = {
    "models": st.dictionaries(
        st.sampled_from(["a", "b", "", "\ud800", "1"]),
        st.dictionaries(st.sampled_from([*keys.MODEL, "macros"]), VALUES),
    ),
    "groups": st.dictionaries(
        st.sampled_from(["g", "(default)"]), st.dictionaries(st.sampled_from([*keys.GROUP]), VALUES)
    ),
    "gateway": st.dictionaries(st.sampled_from([*keys.GATEWAY]), VALUES),
}


@settings(max_examples=800, derandomize=True, deadline=None)
@given(st.fixed_dictionaries({}, optional={key: st.one_of(ENTRIES.get(key, VALUES), VALUES) for key in keys.TOP}))
def test_no_value_anywhere_raises_and_every_problem_is_one_line(tree: dict[str, Any]) -> None:
    loaded = load_text(json.dumps(tree))
    failed = any(problem.severity is Severity.ERROR for problem in loaded.problems)
    assert (loaded.settings is None) == failed
    for problem in loaded.problems:
        assert str(problem).isprintable()
        assert (problem.line, problem.column > 0) == (1, True)
