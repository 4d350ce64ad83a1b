"""The benchmark of the data path: its programs, the structure of what it prints, and its judgement. No timings."""

import json
import os
import shutil
import subprocess  # noqa: TID251 (the benchmark is run as a developer runs it)
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import trio

from tools.dev.bench import demands, http, procfs, results
from tools.dev.bench.alone import EXCHANGES, LISTENING
from tools.dev.bench.load import Load, drive
from tools.dev.bench.place import Running, prepared
from tools.dev.bench.processes import said, started
from tools.dev.bench.programs import SOURCES, WITHOUT_GO, build
from tools.dev.bench.report import report
from tools.dev.bench.results import Results

needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="go is not on the PATH")
PATIENCE = 300.0
"""Seconds; the first build compiles Go's standard library."""


async def bench(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-P", "-m", "tools.dev.bench", *words]
    with trio.fail_after(PATIENCE):
        return await trio.run_process(  # noqa: TID251
            command, capture_stdout=True, capture_stderr=True, check=False, env={**os.environ, **(env or {})}
        )


def cells(text: str, title: str) -> dict[str, list[str]]:
    """The rows of the table below a title, by their first word."""
    table = text.partition(title)[2].partition("\n\n")[0].splitlines()[1:]
    return {line.split()[0]: line.split()[1:] for line in table if line.strip()}


@needs_go
async def test_a_small_run_prints_ratios_demands_and_every_run() -> None:
    done = await bench(
        "http", "--only", "unary-16", "--targets", "direct,go,swapyard", "--runs", "2", "--seconds", "0.3"
    )
    assert done.returncode == 0, done.stderr.decode()
    text = done.stdout.decode()
    rows = cells(text, "unary-16: 2 KB -> 0.5 KB, 16 kept-alive connections")
    assert rows["TARGET"][:4] == ["x", "go", "CPU", "µs"]
    assert rows["go"][0] == "1.00"
    assert float(rows["swapyard"][0]) > 0
    assert "errors" not in text
    lines = [line.split() for line in text.splitlines()]
    for figure in ("per second", "p50 µs", "p99 µs"):
        for target in ("direct", "go", "swapyard"):
            (found,) = [line for line in lines if line[:3] == [*figure.split(), target]]
            assert len(found) == 3 + 2, "every run is printed"
    (demand,) = [line for line in text.splitlines() if "unary-16: CPU µs x go" in line]
    assert demand.split()[1:3] == ["≤", "0.65"]
    assert demand.split()[3] in ("met", "missed")
    assert f"({len(demands.DEMANDS) - 1} of them not asked for in this run)" in text
    assert "only 2 runs" in text
    assert cells(text, "memory, before and after all of the runs above").keys() >= {"go", "swapyard"}
    assert done.stderr.decode().count("unary-16 run") == 6


@needs_go
async def test_the_go_programs_are_formatted_and_vetted() -> None:
    for command in (["gofmt", "-l", "."], ["go", "vet", "./..."]):
        done = await trio.run_process(command, cwd=SOURCES, capture_stdout=True)  # noqa: TID251
        assert done.stdout == b""


@needs_go
@pytest.mark.parametrize("lie", [False, True])
async def test_the_load_generator_counts_an_answer_that_belongs_to_another_request_as_an_error(lie: bool) -> None:
    programs = build()
    seen: list[bytes] = []
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            upstream = await start(programs, nursery)
            other = partial(pass_on, upstream, seen, lie)
            (listener,) = await nursery.start(partial(trio.serve_tcp, other, 0, host="127.0.0.1"))
            port = listener.socket.getsockname()[1]
            command = [str(programs / "load"), "-addr", f"127.0.0.1:{port}", "-requests", "20", "-warm", "0s"]
            done = await trio.run_process(command, stdin=b"go\n", capture_stdout=True)  # noqa: TID251
            nursery.cancel_scope.cancel()
    found = json.loads(done.stdout.splitlines()[-1])
    if lie:
        assert found["operations"] == 0
        assert found["errors"] >= 20
        assert "expected" in found["first_error"]
    else:
        assert (found["operations"], found["errors"]) == (20, 0)
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert len(head.split(b"\r\n")) == 1 + 18, "the headers of the openai package"
    assert len(body) == 2048


async def start(programs: Path, nursery: trio.Nursery) -> int:
    """A model server of the benchmark; its port."""
    process: trio.Process = await nursery.start(
        partial(trio.run_process, [str(programs / "upstream")], stdout=subprocess.PIPE)  # noqa: TID251
    )
    assert process.stdout is not None
    return int((await process.stdout.receive_some()).split()[1])


async def pass_on(upstream: int, seen: list[bytes], lie: bool, client: trio.SocketStream) -> None:
    """A proxy for whole requests of 2 KB; one that lies changes the id within the answer."""
    async with client, await trio.open_tcp_stream("127.0.0.1", upstream) as server:
        request = b""
        while piece := await client.receive_some():
            request += piece
            if len(request.partition(b"\r\n\r\n")[2]) == 2048:
                seen.append(request)
                await server.send_all(request)
                answer = await server.receive_some()
                await client.send_all(answer.replace(b'{"id":"0', b'{"id":"9') if lie else answer)
                request = b""


@needs_go
def test_the_lane_alone_serves_what_its_instructions_are_counted_for() -> None:
    with prepared() as place:
        command = [sys.executable, "-P", "-m", "tools.dev.bench.alone", place.upstream_url]
        with started(command, place.cores.proxy, place.folder("alone") / "log") as it:
            target = Running("alone", f"127.0.0.1:{said(it, LISTENING)}")
            done = drive(place, target, Load(4), seconds=0.01, requests=50)
            it.process.terminate()
            exchanges = int(said(it, EXCHANGES))
            assert it.process.wait(PATIENCE) == 0
    assert (done.errors, done.operations) == (0, 50)
    assert exchanges >= 50


async def test_without_go_the_benchmark_says_so_in_one_line() -> None:
    done = await bench("http", env={"PATH": "/nowhere"})
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().strip() == f"bench: {WITHOUT_GO}"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["http", "--only", "unary-17"], "there is no 'unary-17'"),
        (["http", "--targets", "apache"], "there is no 'apache'"),
        (["http", "--runs", "0"], "expected a number above 0"),
        (["instructions", "unary-17"], "there is no 'unary-17'"),
        (["everything"], "usage: python -m tools.dev.bench"),
    ],
)
async def test_a_bad_command_line_is_told(words: list[str], told: str) -> None:
    done = await bench(*words)
    assert done.returncode == 2
    assert told in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def measured(ours: float, go: float) -> Results:
    found = Results()
    for noise in (0.9, 1.0, 1.1):
        found.add("unary-16", "go", {results.COST: go * noise})
        found.add("unary-16", "swapyard", {results.COST: ours * noise})
    return found


def verdict(found: Results) -> str:
    (demand,) = [row for row in demands.DEMANDS if (row.scenario, row.against) == ("unary-16", "go")]
    return demands.judge(found, demand).word


def test_a_demand_is_met_missed_doubtful_or_not_measured() -> None:
    assert verdict(measured(64, 100)) == "met"
    assert verdict(measured(66, 100)) == "missed"
    assert verdict(Results()) == "not measured"
    with_errors = measured(64, 100)
    with_errors.errors["unary-16", "go"] = (3, "connection refused")
    assert verdict(with_errors) == "doubtful"
    with_errors.errors["unary-16", "swapyard"] = (1, "connection refused")
    assert verdict(with_errors) == "missed"


def test_ratios_are_of_runs_that_followed_each_other() -> None:
    found = Results()
    for go, ours in ((100.0, 50.0), (200.0, 100.0), (400.0, 200.0)):
        found.add("unary-16", "go", {results.COST: go})
        found.add("unary-16", "swapyard", {results.COST: ours})
    assert found.ratios("unary-16", "swapyard", "go", results.COST) == [0.5, 0.5, 0.5]


def test_the_report_names_errors_and_what_is_not_measured() -> None:
    found = measured(10, 100)
    found.errors["unary-16", "swapyard"] = (7, "status 502")
    found.missing["unary-16", "nginx"] = "nginx is not installed"
    text = report(found, 7)
    assert "! swapyard: 7 errors, the first: status 502" in text
    assert "nginx: not measured: nginx is not installed" in text


def test_every_demand_is_about_something_that_is_measured() -> None:
    for demand in demands.DEMANDS:
        assert demand.scenario in http.NAMES
        assert (demand.most is None) != (demand.least is None)


def test_a_report_of_targets_that_did_not_start_says_only_that() -> None:
    found = Results()
    found.missing["unary-16", "go"] = "go is not installed"
    assert "go: not measured: go is not installed" in report(found, 7)


def test_what_a_target_still_has_to_do_is_waited_for_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    before = procfs.cpu([os.getpid()])
    begun = time.process_time()
    while time.process_time() - begun < 0.1:
        pass
    assert procfs.cpu([os.getpid()]) - before >= 0.05
    monkeypatch.setattr(procfs, "REST", 0.01)
    readings = iter([0.0, 0.01, 0.01, 0.02, 0.02, 0.02])
    monkeypatch.setattr(procfs, "cpu", lambda _: next(readings))
    assert procfs.wait_at_rest([1])
    assert list(readings) == []
    monkeypatch.setattr(procfs, "REST_WITHIN", 0.05)
    monkeypatch.setattr(procfs, "cpu", lambda _: time.monotonic())
    assert not procfs.wait_at_rest([1])
