"""Where a benchmark happens: its programs, cores and scratch folder; and what is known of a running target."""

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tools.dev.bench.processes import Cores, said, started
from tools.dev.bench.programs import build


@dataclass(frozen=True, slots=True)
class Running:
    """A target that serves. ``address`` as HOST:PORT; ``trusted``: the certificate, if it speaks TLS."""

    name: str
    address: str
    workers: tuple[int, ...] = ()
    """The processes whose CPU time is the proxy's."""
    supervisor: tuple[int, ...] = ()
    upstream: tuple[int, ...] = ()
    trusted: Path | None = None

    @property
    def pids(self) -> tuple[int, ...]:
        """All that are watched."""
        return (*self.workers, *self.supervisor, *self.upstream)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.address.rpartition(":")[2])


@dataclass(slots=True)
class Place:
    """``upstream``: pid and port of the model server that all targets without one of their own share."""

    programs: Path
    scratch: Path
    cores: Cores
    upstream: tuple[int, int] = (0, 0)
    one_core: dict[str, str] = field(default_factory=lambda: {**os.environ, "GOMAXPROCS": "1"})
    _count: int = 0

    @property
    def upstream_url(self) -> str:
        """For proxies that are told where to go."""
        return f"http://127.0.0.1:{self.upstream[1]}"

    def folder(self, name: str) -> Path:
        """A new folder in the scratch folder."""
        self._count += 1
        made = self.scratch / f"{self._count}-{name}"
        made.mkdir()
        return made


@dataclass(frozen=True, slots=True)
class Effort:
    """How often, how long (seconds) and for whom each thing is measured."""

    runs: int
    seconds: float
    targets: tuple[str, ...]


@contextmanager
def prepared() -> Iterator[Place]:
    """Programs built, the shared model server running; everything gone afterwards."""
    programs, cores = build(), Cores.found()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="swapyard-bench-") as scratch:
        place = Place(programs, Path(scratch), cores)
        with started([str(programs / "upstream")], cores.load, place.scratch / "upstream.log") as upstream:
            place.upstream = (upstream.pid, int(said(upstream, "listening ")))
            yield place
