"""The runtime directory: where it is, who may use it, who holds it."""

import os
import stat
from pathlib import Path

import pytest

from protocol import runtime_dir
from protocol.errors import AlreadyRunning, RuntimeDirError
from protocol.runtime_dir import Lock


def test_the_first_of_the_documented_places_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/a")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/b")
    assert [str(path) for path in runtime_dir.candidates(None)][:2] == ["/a", "/b/swapyard"]
    assert runtime_dir.choose(tmp_path) == tmp_path


def test_it_is_made_for_us_alone(tmp_path: Path) -> None:
    path = runtime_dir.prepare(tmp_path / "deep" / "r")
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_link_or_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(RuntimeDirError, match="not a directory of ours"):
        runtime_dir.prepare(tmp_path / "link")
    (tmp_path / "file").touch()
    with pytest.raises(RuntimeDirError, match="cannot make"):
        runtime_dir.prepare(tmp_path / "file")


def test_a_path_too_long_for_a_socket_is_refused_with_its_length(tmp_path: Path) -> None:
    with pytest.raises(RuntimeDirError, match="107 are possible"):
        runtime_dir.prepare(tmp_path / ("x" * 100))


def test_a_second_instance_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    first = Lock.acquire(tmp_path, patience=0, say=print)
    with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
        Lock.acquire(tmp_path, patience=10, say=print)
    os.close(first.fd)
    os.close(Lock.acquire(tmp_path, patience=0, say=print).fd)


def test_a_first_instance_that_is_stopping_is_waited_for(tmp_path: Path) -> None:
    first = Lock.acquire(tmp_path, patience=0, say=print)
    first.mark(runtime_dir.STOPPING)
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        os.close(first.fd)

    second = Lock.acquire(tmp_path, patience=10, say=say)
    os.close(second.fd)
    assert len(said) == 1
    assert str(os.getpid()) in said[0]


def test_tools_say_where_they_looked(tmp_path: Path) -> None:
    with pytest.raises(RuntimeDirError, match=r"looked for .*/r/control"):
        runtime_dir.find_running(tmp_path / "r")
