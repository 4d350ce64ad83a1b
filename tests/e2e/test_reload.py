"""Reload by difference, over the whole program: what did not change goes on, what did is told and takes effect."""

import signal
from typing import Any

import pytest
import trio

from protocol.control import Failed, Reload, ReloadReply
from tests.support.http import Connection
from tests.support.yard import PATIENCE, Yard, fake, yard

TOGETHER = "groups: {{both: {{swap: false, members: [a, b]}}}}\n"


def config(*, a: str = "", b: str = "", more: str = "", groups: bool = True) -> str:
    """Two models that run beside each other; options for their servers."""
    one = f"  a: {{cmd: '{fake('--name a', a)}', concurrencyLimit: 50}}\n"
    other = f"  b: {{cmd: '{fake('--name b', b)}', ttl: 600}}\n"
    models = f"models:\n{one}{other}"
    return models + (TOGETHER.format() if groups else "") + more


async def reload(it: Yard, *, dry_run: bool = False) -> ReloadReply:
    reply = await it.control(Reload(dry_run=dry_run))
    assert isinstance(reply, ReloadReply), reply
    return reply


def changes(reply: ReloadReply) -> dict[str, str]:
    return {row.model: row.change for row in reply.rows}


async def wait_in_log(it: Yard, words: str) -> None:
    with trio.fail_after(PATIENCE):
        while words not in it.log():
            await trio.sleep(0.02)


async def wait_models(it: Yard, *names: str) -> None:
    with trio.fail_after(PATIENCE):
        while {row.id for row in (await it.status()).models} != set(names):
            await trio.sleep(0.02)


async def stream(it: Yard, model: str, ended: list[bytes], started: trio.Event | None = None) -> None:
    async with Connection.open(it.port) as client:
        await client.send("POST", "/v1/chat/completions", {"model": model, "stream": True, "messages": []})
        head = await client.head()
        assert head.status == 200
        received = b""
        async for chunk in client.chunks():
            received += chunk
            if started is not None:
                started.set()
        ended.append(received)


@pytest.mark.rule("C12.5")
async def test_streams_of_an_unchanged_model_survive_twenty_edits_of_everything_else() -> None:
    slow = "--chunks 40 --chunk-interval 0.1"
    async with yard(config(a=slow)) as it:
        await it.chat("b")
        first = await it.model("b")
        ended: list[bytes] = []
        async with trio.open_nursery() as nursery:
            started = [trio.Event() for _ in range(50)]
            for event in started:
                nursery.start_soon(stream, it, "a", ended, event)
            with trio.fail_after(PATIENCE):
                await it.wait_model("a", lambda row: row.leases > 0)
                pid = (await it.model("a")).pid
                for number in range(20):
                    it.rewrite(config(a=slow, b=f"--chunks {number + 1}", more=f"apiKeys: []\nglobalTTL: {number}\n"))
                    reply = await reload(it)
                    assert changes(reply)["b"] == "restart"
                    assert changes(reply).get("a") in (None, "in place")
        assert len(ended) == 50
        assert all(b"[DONE]" in received for received in ended)
        assert (await it.model("a")).pid == pid
        await it.chat("b")
        assert (await it.model("b")).pid != first.pid


@pytest.mark.rule("C12.4")
async def test_a_file_that_is_broken_changes_nothing_and_says_why() -> None:
    async with yard(config()) as it:
        await it.chat("a")
        pid = (await it.model("a")).pid
        for broken in (
            "models: {a: [",
            config(more="globalTTL: soon\n"),
            config(more="routing: {router: {use: memroy}}\n"),
        ):
            it.rewrite(broken)
            for dry_run in (True, False):
                reply = await it.control(Reload(dry_run=dry_run))
                assert isinstance(reply, Failed)
                assert "nothing has changed" in reply.text
                assert f"{it.config}:" in reply.text
        assert (await it.chat("a")).status == 200
        assert (await it.model("a")).pid == pid
        # The other way round it could meet the file empty, which is a configuration without models.
        it.rewrite(config())
        it.process.send_signal(signal.SIGHUP)
        assert changes(await reload(it)) == {}


@pytest.mark.rule("C12.5")
async def test_a_file_that_is_caught_half_written_removes_no_model() -> None:
    async with yard(config()) as it:
        await it.chat("a")
        pid = (await it.model("a")).pid
        it.config.write_text("")
        reply = await it.control(Reload())
        assert isinstance(reply, Failed)
        assert "say 'models: {}'" in reply.text
        assert (await it.model("a")).pid == pid
        it.config.write_text("models: {}\n")
        assert changes(await reload(it)) == {"a": "removed", "b": "removed"}


async def test_a_changed_command_lets_streams_end_queues_who_comes_and_restarts() -> None:
    slow = "--chunks 20 --chunk-interval 0.1"
    async with yard(config(a=slow)) as it:
        ended: list[bytes] = []
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                started = trio.Event()
                nursery.start_soon(stream, it, "a", ended, started)
                await started.wait()
                old = await it.model("a")
                it.rewrite(config(a="--chunks 2"))
                dry = await reload(it, dry_run=True)
                assert dry.dry_run
                assert "finishes what it does, 300 s at most" in dry.rows[0].effect
                assert (await it.model("a")).phase == "ready"
                await reload(it)
                assert (await it.model("a")).phase == "draining"
                answer = await it.chat("a")
                assert answer.status == 200
                assert len(ended) == 1
                assert b"[DONE]" in ended[0]
        new = await it.model("a")
        assert new.pid != old.pid
        assert new.upstream == old.upstream


async def test_a_stream_that_outlasts_the_drain_ends_as_an_error() -> None:
    async with yard(config(a="--chunks 600 --chunk-interval 0.1", more="reloadDrainTimeout: 1\n")) as it:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                started = trio.Event()
                failed: list[Any] = []

                async def broken() -> None:
                    ended: list[bytes] = []
                    try:
                        await stream(it, "a", ended, started)
                    except Exception as error:  # noqa: BLE001 (whatever way the client sees it)
                        failed.append(error)
                    assert not ended or b"[DONE]" not in ended[0]
                    failed.append("ended")

                nursery.start_soon(broken)
                await started.wait()
                it.rewrite(config(a="--chunks 1", more="reloadDrainTimeout: 1\n"))
                await reload(it)
                await it.wait_model("a", lambda row: row.phase == "stopped")
        assert failed


@pytest.mark.rule("C12.4")
async def test_added_and_removed_models_names_keys_and_limits_take_effect_at_once() -> None:
    async with yard(config()) as it:
        await it.chat("a")
        c = f"  c: {{cmd: '{fake('--name c')}', aliases: [sea]}}\n"
        without_b = config(groups=False).partition("  b:")[0]
        it.rewrite(without_b + c + "apiKeys: [let-me-in]\n")
        assert changes(await reload(it)) == {"c": "added", "b": "removed"}
        assert (await it.chat("a")).status == 401
        key = {"Authorization": "Bearer let-me-in"}
        body = {"model": "sea", "messages": []}
        assert (await it.ask("POST", "/v1/chat/completions", body, key)).status == 200
        body = {"model": "b", "messages": []}
        assert (await it.ask("POST", "/v1/chat/completions", body, key)).status == 404
        names = {row["id"] for row in (await it.ask("GET", "/v1/models", headers=key)).json["data"]}
        assert names == {"a", "c"}
        assert {row.id for row in (await it.status()).models} == {"a", "c"}


async def test_the_port_of_a_running_model_stays_its_own_when_others_come_before_it() -> None:
    async with yard(config()) as it:
        await it.chat("b")
        before = await it.model("b")
        zero = f"  Zero: {{cmd: '{fake('--name zero')}'}}\n"
        it.rewrite(config().replace("models:\n", "models:\n" + zero))
        assert changes(await reload(it))["Zero"] == "added"
        after = await it.model("b")
        assert (after.pid, after.upstream, after.phase) == (before.pid, before.upstream, "ready")
        answer = await it.chat("Zero")
        assert "zero" in answer.json["choices"][0]["message"]["content"]


@pytest.mark.rule("C12.4")
async def test_the_log_level_changes_in_place_everywhere() -> None:
    async with yard(config(more="logLevel: warning\n")) as it:
        assert (await it.chat("a")).status == 200
        assert "swapyard.access" not in it.log()
        assert "swapyard.scheduler" not in it.log()
        it.rewrite(config(more="logLevel: info\n"))
        assert (await reload(it)).sections == ("logLevel",)
        assert (await it.chat("b")).status == 200
        await it.wait_model("b", lambda row: row.leases == 0)
        assert "swapyard.access" in it.log()
        assert "swapyard.scheduler" in it.log()


@pytest.mark.rule("C12.2")
async def test_sighup_reloads() -> None:
    async with yard(config()) as it:
        it.rewrite(config(more="globalTTL: 77\n"))
        it.process.send_signal(signal.SIGHUP)
        await it.wait_model("a", lambda row: row.ttl == 77.0)


@pytest.mark.rule("C1.7", "C12.1")
async def test_a_watched_file_is_taken_over_however_it_is_saved() -> None:
    async with yard(config(), "--watch-config") as it:
        await wait_in_log(it, "watching")
        it.rewrite(config(more="globalTTL: 11\n"))
        await it.wait_model("a", lambda row: row.ttl == 11.0)
        # As editors save: another file takes the name.
        other = it.config.with_suffix(".new")
        other.write_text(it.ports + config(more="globalTTL: 12\n"))
        other.replace(it.config)
        await it.wait_model("a", lambda row: row.ttl == 12.0)
        # A link that points elsewhere from one moment to the next.
        for number in (13, 14):
            folder = it.config.parent / f"v{number}"
            folder.mkdir()
            (folder / "real.yaml").write_text(it.ports + config(more=f"globalTTL: {number}\n"))
            link = it.config.with_suffix(".link")
            link.symlink_to(folder / "real.yaml")
            link.replace(it.config)
            await it.wait_model("a", lambda row, ttl=float(number): row.ttl == ttl)
        # And what it points to, once it is watched, too.
        (it.config.parent / "v14" / "real.yaml").write_text(it.ports + config(more="globalTTL: 15\n"))
        await it.wait_model("a", lambda row: row.ttl == 15.0)


async def test_a_folder_is_one_configuration_and_its_files_come_and_go_on_reload() -> None:
    one, other = (f"models: {{{name}: {{cmd: '{fake(f'--name {name}')}'}}}}\n" for name in "ab")
    async with yard({"a.yaml": one, "all.yml": "groups: {g: {swap: false, members: [a]}}\n"}) as it:
        assert (await it.chat("a")).status == 200
        pid = (await it.model("a")).pid
        (it.config / "b.yaml").write_text(other)
        assert changes(await reload(it)) == {"b": "added"}
        (it.config / "all.yml").write_text("groups: {g: {swap: false, members: [a, b]}}\n")
        await reload(it)
        assert (await it.chat("b")).status == 200
        (it.config / "c.yaml").write_text("\nmodels: {a: {cmd: x}}\n")
        reply = await it.control(Reload())
        assert isinstance(reply, Failed)
        assert f"{it.config}/c.yaml:2:10: error: models.a: stands in line 1 of {it.config}/a.yaml, too" in reply.text
        (it.config / "c.yaml").write_text("routing: {scheduler: {use: fiffo}}\n")
        reply = await it.control(Reload())
        assert isinstance(reply, Failed)
        assert f"{it.config}/c.yaml:1:" in reply.text
        (it.config / "c.yaml").unlink()
        (it.config / "b.yaml").unlink()
        (it.config / "all.yml").unlink()
        assert changes(await reload(it)) == {"b": "removed"}
        assert (await it.model("a")).pid == pid


@pytest.mark.rule("C12.1")
async def test_a_watched_folder_is_taken_over_whatever_happens_in_it() -> None:
    one, other = (f"models: {{{name}: {{cmd: '{fake(f'--name {name}')}'}}}}\n" for name in "ab")
    async with yard({"a.yaml": one}, "--watch-config") as it:
        await it.chat("a")
        pid = (await it.model("a")).pid
        await wait_in_log(it, "watching")
        (it.config / "b.yaml").write_text(other)
        await wait_models(it, "a", "b")
        (it.config / "b.new").write_text(other.replace("b:", "c:"))
        (it.config / "b.new").replace(it.config / "b.yaml")
        await wait_models(it, "a", "c")
        (it.config / "broken.yaml").write_text("models: [\n")
        await wait_in_log(it, f"{it.config}/broken.yaml:")
        assert "nothing has changed" in it.log()
        (it.config / "broken.yaml").unlink()
        (it.config / "b.yaml").unlink()
        await wait_models(it, "a")
        before = (await it.status()).revision
        for number in range(20):
            (it.config / f"{number % 4}.yaml").write_text(f"globalTTL: {number // 4}\n")
        await it.wait_model("a", lambda row: row.ttl == 4.0)
        assert (await it.status()).revision - before <= 2
        assert (await it.model("a")).pid == pid


@pytest.mark.rule("C12.3")
async def test_a_burst_of_saves_is_one_reload_and_the_last_one_wins() -> None:
    async with yard(config(), "--watch-config") as it:
        await wait_in_log(it, "watching")
        before = (await it.status()).revision
        for number in range(1, 21):
            it.rewrite(config(more=f"globalTTL: {number}\n"))
        await it.wait_model("a", lambda row: row.ttl == 20.0)
        assert (await it.status()).revision - before <= 2
