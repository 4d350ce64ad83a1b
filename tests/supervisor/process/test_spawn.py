"""What a gateway worker gets from the one place that starts processes."""

import os
import sys
from pathlib import Path

import pytest

from supervisor.process.spawn import WORKER_MEMORY, spawn_worker

TELL = "import os, sys; open(sys.argv[1], 'w').write(repr(dict(os.environ)))"


async def environment(file: Path) -> str:
    """Of a process that is started as a worker is."""
    process = await spawn_worker([sys.executable, "-P", "-c", TELL, str(file)], pass_fds=())
    assert await process.wait() == 0
    return file.read_text()


async def test_a_worker_keeps_freed_memory_and_not_the_guardian(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWAPYARD_GUARDIAN_TELL", "7")
    said = await environment(tmp_path / "said")
    for name, value in WORKER_MEMORY.items():
        assert f"{name!r}: {value!r}" in said
        assert name not in os.environ, "and the supervisor itself does not"
    assert "SWAPYARD_GUARDIAN" not in said


async def test_what_the_environment_says_of_its_memory_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1234567")
    said = await environment(tmp_path / "said")
    assert "'MALLOC_TRIM_THRESHOLD_': '1234567'" in said
    assert "'MALLOC_MMAP_THRESHOLD_': '1048576'" in said
