"""The table of ``swapctl status``."""

import pytest

from protocol.control import ModelStatus, StatusReply, WorkerStatus
from protocol.ids import ModelId
from tools.status_table import duration, port_of, render

STATUS = StatusReply(
    instance="i",
    version="1.2",
    pid=7,
    uptime=61.0,
    listen="http://127.0.0.1:8080",
    revision=1,
    starts=3,
    swaps=2,
    models=(
        ModelStatus(
            id=ModelId("llama"), phase="ready", pid=12, upstream="http://localhost:5800", uptime=3700.0, leases=1,
            limit=10, waiting=2, ttl_left=59.0,
        ),
        ModelStatus(id=ModelId("bad"), phase="backing_off", limit=4, last_failure="exited with status 3", retry_in=3.6),
    ),
    workers=(WorkerStatus(slot=0, pid=9, uptime=60.0, leases=1), WorkerStatus(slot=1, pid=None, restarts=2)),
)  # fmt: skip


def test_the_whole_table() -> None:
    assert render(STATUS).splitlines() == [
        "swapyard 1.2 · http://127.0.0.1:8080 · pid 7 · up 1m01s · 3 starts, 2 swaps",
        "",
        "MODEL  PHASE        PID  PORT  UP     LEASES  WAITING  TTL LEFT  LAST FAILURE",
        "llama  ready        12   5800  1h01m  1/10    2        59s",
        "bad    backing_off                    0/4     0                  exited with status 3 (next try in 4 s)",
        "",
        "WORKER  PID       UP     LEASES  WAITING  RESTARTS",
        "0       9         1m00s  1       0        0",
        "1       starting  0s     0       0        2",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.4, "0s"), (59.9, "59s"), (60, "1m00s"), (7325, "2h02m"), (200_000, "2d07h")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_ports() -> None:
    assert (port_of("http://h:12/base"), port_of("http://h/base"), port_of("")) == ("12", "", "")
