"""The traffic that is measured, by name; what else there is to measure is in ``memory.py`` and ``lateness.py``."""

from dataclasses import dataclass

from tools.dev.bench.load import Load

LARGE = 200 * 1024
EVENT = 200
"""Bytes of a streamed event: a token with the JSON around it."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of traffic. ``unit``: what CPU time is told for."""

    name: str
    title: str
    load: Load
    unit: str = "request"
    tls: bool = False


def _unary(connections: int, *, tls: bool = False) -> Scenario:
    name = f"{'tls' if tls else 'unary'}-{connections}"
    title = f"2 KB -> 0.5 KB, {connections} kept-alive connections{', TLS 1.3' if tls else ''}"
    return Scenario(name, title, Load(connections), tls=tls)


def _streams(connections: int, rate: int) -> Scenario:
    load = Load(connections, mode="stream", plan=f"event={EVENT} rate={rate}")
    return Scenario(f"stream-{connections}x{rate}", f"{connections} streams, {rate} chunks/s each", load, "chunk")


ALL = (
    _unary(1),
    _unary(16),
    _unary(64),
    _unary(256),
    Scenario("close-16", "2 KB -> 0.5 KB, a connection for each request, 16 at a time", Load(16, mode="close")),
    Scenario("body-200k", "200 KB -> 0.5 KB, 16 connections", Load(16, body=LARGE)),
    Scenario("answer-200k", "2 KB -> 200 KB, 16 connections", Load(16, plan=f"answer={LARGE}")),
    _streams(64, 50),
    _streams(256, 50),
    _streams(64, 500),
    Scenario(
        "stream-unpaced",
        "8 streams of 3,000 chunks, as fast as they are taken",
        Load(8, mode="stream", plan=f"event={EVENT} count=3000"),
        "chunk",
    ),
    _unary(16, tls=True),
    _unary(64, tls=True),
)
SCENARIOS = {scenario.name: scenario for scenario in ALL}
