"""Our package names are common words: they must resolve here, and the wheel must hold exactly them."""

import importlib
import sys
import zipfile
from pathlib import Path

import pytest
import trio

ROOT = Path(__file__).parents[2]
OURS = {"config", "gateway", "protocol", "supervisor", "tools"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_packages_resolve_inside_the_checkout(name: str) -> None:
    module = importlib.import_module(name)
    assert Path(str(module.__file__)).parent == ROOT / name


async def test_the_top_level_of_the_wheel_is_exactly_ours(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    with trio.fail_after(120):
        await trio.run_process([*command, "--wheel-dir", str(tmp_path), str(ROOT)])  # noqa: TID251
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == OURS
    assert "supervisor/scheduler/design.md" in names


async def test_the_console_scripts_are_installed() -> None:
    for script in ("swapyard", "swapctl"):
        path = Path(sys.executable).with_name(script)
        done = await trio.run_process([str(path), "--help"], capture_stdout=True)  # noqa: TID251
        assert done.stdout.startswith(b"usage: ")
