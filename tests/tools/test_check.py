"""``swapyard check``: what it says and its exit status (the command itself: ``test_cli.py``)."""

import json
from pathlib import Path

import pytest

from tools.check import run

GOOD = "models:\n  a: {cmd: 'sh ${PORT}'}\n"
WARNED = GOOD + "modles: {}\n"
BAD = WARNED + "startPort: x\nhooks: {}\n"
NOTICED = GOOD + "hooks: {}\n"


@pytest.mark.rule("C1.2", "C3.10")
@pytest.mark.parametrize(
    ("text", "lenient", "strict"), [(GOOD, 0, 0), (NOTICED, 0, 0), (WARNED, 0, 2), (BAD, 2, 2), ("a: [", 2, 2)]
)
def test_the_exit_status_tells_valid_from_not(text: str, lenient: int, strict: int, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    assert run(["--config", str(file)]) == lenient
    assert run(["--strict", "-config", str(file)]) == strict


def test_problems_are_one_line_each_in_the_order_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(BAD)
    run(["--config", str(file)])
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        f"{file}:3:1: warning: modles: there is no such key; did you mean 'models'?",
        f"{file}:4:12: error: startPort: found 'x', expected a port, 1 to 65535",
        f"{file}:5:1: notice: hooks: has no effect in this version",
    ]
    assert said.out == f"{file}: not valid\n"


def test_the_json_output_has_an_object_for_each_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(BAD)
    assert run(["--config", str(file), "-o", "json"]) == 2
    said = json.loads(capsys.readouterr().out)
    assert said["valid"] is False
    assert [row["severity"] for row in said["problems"]] == ["warning", "error", "notice"]
    assert said["problems"][1] == {
        "severity": "error",
        "file": str(file),
        "line": 4,
        "column": 12,
        "path": "startPort",
        "text": "found 'x', expected a port, 1 to 65535",
    }


def test_a_missing_file_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--config", str(tmp_path / "none.yaml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"{tmp_path}/none.yaml:1:1: error: cannot be read: No such file or directory"
