"""Which files are read: ``--config``, ``--config-dir``, or both (``tests/compat/config.md`` §2)."""

import os
from pathlib import Path

import pytest

from config.check import load
from config.sources import MOST_BYTES, MOST_FILES, Sources
from config.types import Settings


def files(sources: Sources) -> list[str]:
    return [path.name for path in sources.files()]


def test_files_of_the_top_level_named_yml_or_yaml_count_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "B.yml", ".h.yaml", "c.YAML", "d.yaml~", "e.json", "f.yaml.bak", "10.yml", "9.yml"):
        (tmp_path / name).touch()
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "folder.yaml" / "inner.yaml").touch()
    assert files(Sources(None, tmp_path)) == [".h.yaml", "10.yml", "9.yml", "B.yml", "a.yml", "b.yaml"]
    (tmp_path / "own").touch()
    assert files(Sources(tmp_path / "own", tmp_path))[0] == "own"


def test_links_are_followed_and_one_that_leads_nowhere_is_a_problem(tmp_path: Path) -> None:
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (tmp_path / "elsewhere").write_text("startPort: 7000\n")
    (tmp_path / "more").mkdir()
    (folder / "a.yaml").symlink_to(tmp_path / "elsewhere")
    (folder / "b.yaml").symlink_to(tmp_path / "more")
    # How Emacs marks a file that is being edited.
    (folder / ".#a.yaml").symlink_to("somebody@host.1234")
    assert files(Sources(None, folder)) == ["a.yaml"]
    (folder / "c.yaml").symlink_to(tmp_path / "nowhere")
    (problem,) = load(Sources(None, folder)).problems
    assert str(problem) == f"{folder}/c.yaml:1:1: error: cannot be read: No such file or directory"


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "a.yaml").touch()
    assert files(Sources(None, tmp_path)) == ["a.yaml"]


def test_no_files_at_all_a_missing_folder_and_too_many_files_are_problems(tmp_path: Path) -> None:
    for folder, words in [
        (tmp_path, "has no file named *.yml or *.yaml in it"),
        (tmp_path / "none", "cannot be read: No such file or directory"),
    ]:
        (problem,) = load(Sources(None, folder)).problems
        assert str(problem) == f"{folder}:1:1: error: {words}"
    (tmp_path / "config").touch()
    assert load(Sources(tmp_path / "config", tmp_path)).settings == Settings(), "an empty folder beside a file is fine"
    for number in range(MOST_FILES + 1):
        (tmp_path / f"{number}.yml").touch()
    (problem,) = load(Sources(tmp_path / "config", tmp_path)).problems
    assert str(problem) == f"{tmp_path}:1:1: error: has more than {MOST_FILES} files in it"


@pytest.mark.rule("C2.3")
def test_a_file_that_is_given_twice_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "a.yaml").write_text("startPort: 1\n")
    (tmp_path / "link").symlink_to(folder / "a.yaml")
    monkeypatch.chdir(folder)
    for file in (folder / "a.yaml", folder / ".." / "conf.d" / "a.yaml", Path("a.yaml"), tmp_path / "link"):
        (problem,) = load(Sources(file, folder)).problems
        assert str(problem) == (
            f"{folder}/a.yaml:1:1: error: is given with --config and stands in the folder of --config-dir, too"
        )


def test_many_files_are_bounded_together(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.yaml").write_text("# " + "x" * (MOST_BYTES // 4) + "\n")
    (problem,) = load(Sources(None, tmp_path)).problems
    assert (problem.file.name, problem.text) == ("3.yaml", f"makes the configuration larger than {MOST_BYTES} bytes")
    (tmp_path / "4.yaml").unlink()
    for number in range(4):
        (tmp_path / f"{number}.yaml").write_text(f"x{number}: [{', '.join(['x'] * 30_000)}]\n")
    (problem,) = (problem for problem in load(Sources(None, tmp_path)).problems if problem.severity == "error")
    assert (problem.file.name, "too large to expand" in problem.text) == ("3.yaml", True)
