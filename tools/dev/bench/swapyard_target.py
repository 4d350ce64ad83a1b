"""swapyard as a target: started as a user would, with every feature on; its model is the bench's model server.

Worker and supervisor are told apart by what ``swapctl status`` says.
"""

import shlex
import subprocess  # noqa: TID251 (a developer's tool that runs swapctl as a user does)
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from protocol.control import StatusReply
from tools.dev.bench.load import KEY, MODEL
from tools.dev.bench.place import Place, Running
from tools.dev.bench.problems import CannotMeasure
from tools.dev.bench.processes import free_port, move, said, started

CONFIG = """\
startPort: {port}
logLevel: info            # the access log
apiKeys: [sk-other-1, sk-other-2, {key}]
gateway: {{bodyLimit: 64MiB, clientStallTimeout: 60}}
models:
  {model}:
    cmd: {upstream} -port ${{PORT}}
    proxy: http://127.0.0.1:${{PORT}}
    aliases: [gpt-4o]
    ttl: 3600
    concurrencyLimit: 5000
    queueLimit: 5000
"""
CTL_WITHIN = 60.0


@contextmanager
def running(
    place: Place,
    workers: int,
    tls: tuple[Path, Path] | None = None,
    env: Mapping[str, str] | None = None,
    *,
    name: str = "swapyard",
) -> Iterator[Running]:
    """A whole swapyard with so many workers, its model ready and on the load's core."""
    upstream = shlex.quote(str(place.programs / "upstream"))
    text = CONFIG.format(port=free_port(), key=KEY, model=MODEL, upstream=upstream)
    with served(place, text, workers, tls, env) as (address, runtime):
        ctl(runtime, "load", MODEL)
        status = msgspec.json.decode(ctl(runtime, "status", "-o", "json"), type=StatusReply)
        models = tuple(model.pid for model in status.models if model.pid is not None)
        for pid in models:
            move(pid, place.cores.load)
        yield Running(
            name,
            address,
            tuple(worker.pid for worker in status.workers if worker.pid is not None),
            supervisor=(status.pid,),
            upstream=models,
            trusted=tls[0] if tls else None,
        )


@contextmanager
def served(
    place: Place,
    config: str,
    workers: int = 1,
    tls: tuple[Path, Path] | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, Path]]:
    """``swapyard serve`` with this configuration; its address and its runtime directory."""
    folder = place.folder("swapyard")
    (folder / "config.yaml").write_text(config)
    command = [sys.executable, "-P", "-m", "tools.cli", "serve", "--config", str(folder / "config.yaml")]
    command += ["--listen", "127.0.0.1:0", "--workers", str(workers), "--runtime-dir", str(folder / "run")]
    if tls is not None:
        command += ["--tls-cert-file", str(tls[0]), "--tls-key-file", str(tls[1])]
    with started(command, place.cores.proxy, folder / "log", env=env) as it:
        try:
            line = said(it, "swapyard listening on ")
        except CannotMeasure as why:
            if tls is None:
                raise
            raise CannotMeasure(f"no TLS in this version ({why})") from None
        yield line.split(" (")[0].partition("://")[2], folder / "run"


def ctl(runtime: Path, *words: str) -> bytes:
    """What ``swapctl`` prints."""
    command: Sequence[str] = [sys.executable, "-P", "-m", "tools.ctl", *words, "--runtime-dir", str(runtime)]
    done = subprocess.run(command, capture_output=True, timeout=CTL_WITHIN, check=False)
    if done.returncode:
        raise CannotMeasure(f"swapctl {' '.join(words)}: {done.stderr.decode().strip()}")
    return done.stdout
