"""What ``--watch-config`` notices: real files, the real kernel, and what it does not tell of."""

import logging
import mmap
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from config.sources import Sources
from supervisor.watch import READY, watch

PATIENCE = 30.0


class Count:
    """How often something was noticed."""

    def __init__(self) -> None:
        self.now = 0
        self._more = trio.Event()

    def __call__(self) -> None:
        self.now += 1
        self._more.set()
        self._more = trio.Event()

    async def wait(self, number: int) -> None:
        """Until it is so many, and not more."""
        with trio.fail_after(PATIENCE):
            while self.now < number:
                await self._more.wait()
        assert self.now == number


@asynccontextmanager
async def watching(sources: Sources) -> AsyncIterator[Count]:
    noticed = Count()
    async with trio.open_nursery() as nursery:
        await nursery.start(watch, sources, noticed)
        yield noticed
        nursery.cancel_scope.cancel()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.yaml").write_text("a: 1\n")
    return tmp_path / "conf.d"


async def test_a_file_of_the_folder_that_is_added_changed_replaced_or_removed_is_noticed_once(folder: Path) -> None:
    (folder.parent / "own.yaml").touch()
    async with watching(Sources(folder.parent / "own.yaml", folder)) as noticed:
        (folder / "b.yml").write_text("b: 1\n")
        await noticed.wait(1)
        (folder / "b.yml").write_text("b: 2\n")
        await noticed.wait(2)
        (folder / "b.new").write_text("b: 3\n")
        (folder / "b.new").replace(folder / "b.yml")
        await noticed.wait(3)
        (folder / "b.yml").unlink()
        await noticed.wait(4)
        (folder.parent / "own.yaml").write_text("c: 1\n")
        await noticed.wait(5)


async def test_a_burst_over_several_files_is_noticed_once(folder: Path) -> None:
    async with watching(Sources(None, folder)) as noticed:
        for number in range(50):
            (folder / f"{number % 5}.yaml").write_text(f"x: {number}\n")
        (folder / "a.yaml").unlink()
        await noticed.wait(1)
        (folder / "a.yaml").write_text("a: 2\n")
        await noticed.wait(2)


async def test_what_does_not_change_the_content_is_neither_noticed_nor_logged(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with watching(Sources(None, folder)) as noticed:
        (folder / "a.yaml").write_text("a: 1\n")
        (folder / "other.txt").write_text("b: 1\n")
        (folder / "b.yaml").mkdir()
        (folder / ".#a.yaml").symlink_to("nowhere")
        for number in (1, 2):
            (folder / "c.yaml").write_text(f"c: {number}\n")
            await noticed.wait(number)
    assert [record.msg for record in caplog.records] == [READY]


async def test_a_folder_that_is_gone_for_a_while_changes_nothing_and_is_watched_when_it_is_back(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def watched() -> int:
        return sum(record.msg == READY for record in caplog.records)

    async def wait(condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE):
            while not condition():
                await trio.sleep(0.01)

    caplog.set_level(logging.INFO)
    (folder.parent / "own.yaml").touch()
    async with watching(Sources(folder.parent / "own.yaml", folder)) as noticed:
        await wait(lambda: watched() == 1)
        folder.rename(folder.parent / "away")
        await wait(lambda: watched() == 2)
        (folder.parent / "away").rename(folder)
        await wait(lambda: watched() == 3)
        assert noticed.now == 0
        (folder / "a.yaml").write_text("a: 2\n")
        await noticed.wait(1)
        # Another folder of the same name, with other content.
        (folder.parent / "next").mkdir()
        (folder.parent / "next" / "a.yaml").write_text("a: 3\n")
        folder.rename(folder.parent / "old")
        (folder.parent / "next").rename(folder)
        await noticed.wait(2)
        await wait(lambda: watched() == 4)
        (folder / "a.yaml").write_text("a: 4\n")
        await noticed.wait(3)


async def test_links_to_files_and_to_the_folder_are_followed(tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / f"v{version}").mkdir()
        (tmp_path / f"v{version}" / "a.yaml").write_text(f"a: {version}\n")
    (tmp_path / "real").mkdir()
    (tmp_path / "conf.d").symlink_to(tmp_path / "real")
    # As a cluster mounts what it manages: files link into a link that is exchanged.
    (tmp_path / "real" / "..data").symlink_to(tmp_path / "v1")
    (tmp_path / "real" / "a.yaml").symlink_to("..data/a.yaml")
    async with watching(Sources(None, tmp_path / "conf.d")) as noticed:
        (tmp_path / "real" / "..next").symlink_to(tmp_path / "v2")
        (tmp_path / "real" / "..next").replace(tmp_path / "real" / "..data")
        await noticed.wait(1)
        (tmp_path / "v2" / "a.yaml").write_text("a: 3\n")
        await noticed.wait(2)
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "a.yaml").write_text("a: 4\n")
        (tmp_path / "link").symlink_to(tmp_path / "other")
        (tmp_path / "link").replace(tmp_path / "conf.d")
        await noticed.wait(3)


async def test_a_change_that_the_kernel_does_not_tell_of_is_noticed_all_the_same(folder: Path) -> None:
    with (folder / "a.yaml").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        async with watching(Sources(None, folder)) as noticed:
            # inotify(7): "does not report file accesses and modifications that may occur because of mmap(2)".
            memory[3:4] = b"2"
            await noticed.wait(1)
            memory[3:4] = b"3"
            await noticed.wait(2)


async def test_a_folder_that_cannot_be_watched_is_looked_at(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # The library takes no name that is not UTF-8.
    folder = tmp_path / os.fsdecode(b"conf\xff.d")
    folder.mkdir()
    async with watching(Sources(None, folder)) as noticed:
        (folder / "a.yaml").write_text("a: 1\n")
        await noticed.wait(1)
        (folder / "a.yaml").write_text("a: 2\n")
        await noticed.wait(2)
    assert [record.levelname for record in caplog.records if "is looked at every 2 s" in record.message] == ["WARNING"]
