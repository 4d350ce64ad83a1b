"""What is measured beside each other, and how each is started. ``swapyard`` itself: ``swapyard_target.py``.

All but those that start their model server themselves share one. A target that cannot be measured here raises
``CannotMeasure`` with the reason, which the report prints.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from subprocess import run  # noqa: TID251 (a developer's tool that runs its own programs)

from tools.dev.bench import procfs, swapyard_target
from tools.dev.bench.load import MODEL, Load, drive
from tools.dev.bench.place import Place, Running
from tools.dev.bench.problems import CannotMeasure
from tools.dev.bench.processes import free_port, move, said, started, wait_listening

Target = Callable[[Place, bool], AbstractContextManager[Running]]

NGINX = """\
daemon off;
{user}worker_processes 1;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 64m;
  client_body_buffer_size 512k;
  keepalive_requests 1000000000;
  ssl_protocols TLSv1.3;
  upstream model {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port}{tls};
    location / {{
      proxy_pass http://model;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_buffer_size 64k;
      proxy_buffers 4 64k;
    }}
  }}
}}
"""
LLAMA_SWAP = """\
startPort: {start}
models:
  {model}:
    cmd: {upstream} -port ${{PORT}}
    proxy: http://127.0.0.1:${{PORT}}
    concurrencyLimit: 10000
"""


@contextmanager
def direct(place: Place, tls: bool) -> Iterator[Running]:  # noqa: ARG001 (it speaks plain HTTP in any case)
    """The model server without a proxy: what load generator and model server can do at most."""
    yield Running("direct", f"127.0.0.1:{place.upstream[1]}", upstream=(place.upstream[0],))


@contextmanager
def nginx(place: Place, tls: bool) -> Iterator[Running]:
    """nginx with one worker, kept-alive connections to the model server, and no log."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise CannotMeasure("nginx is not installed (Debian: apt-get install nginx-light)")
    folder, port = place.folder("nginx"), free_port()
    cert, key = certificate(place) if tls else (None, None)
    text = NGINX.format(
        user="user root; " if os.geteuid() == 0 else "",
        folder=folder,
        upstream=place.upstream[1],
        port=port,
        tls=f" ssl; ssl_certificate {cert}; ssl_certificate_key {key}" if tls else "",
    )
    (folder / "nginx.conf").write_text(text)
    command = [program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    with started(command, place.cores.proxy, folder / "log", speaks=False) as it:
        wait_listening(it, port)
        pids = (it.pid, *procfs.descendants(it.pid))
        yield Running("nginx", f"127.0.0.1:{port}", pids, upstream=(place.upstream[0],), trusted=cert)


@contextmanager
def go(place: Place, tls: bool) -> Iterator[Running]:
    """The standard library's reverse proxy, bare."""
    command = [str(place.programs / "proxy"), "-upstream", place.upstream_url]
    cert, key = certificate(place) if tls else (None, None)
    if tls:
        command += ["-cert", str(cert), "-key", str(key)]
    with started(command, place.cores.proxy, place.folder("go") / "log") as it:
        address = f"127.0.0.1:{said(it, 'listening ')}"
        yield Running("go", address, (it.pid,), upstream=(place.upstream[0],), trusted=cert)


@contextmanager
def llama_swap(place: Place, tls: bool) -> Iterator[Running]:
    """The binary that ``LLAMA_SWAP`` names."""
    program = os.environ.get("LLAMA_SWAP", "")
    if not program:
        raise CannotMeasure("the environment's LLAMA_SWAP names no binary")
    folder, port = place.folder("llama-swap"), free_port()
    upstream = place.programs / "upstream"
    (folder / "config.yaml").write_text(LLAMA_SWAP.format(start=free_port(), model=MODEL, upstream=upstream))
    command = [program, "--config", str(folder / "config.yaml"), "--listen", f"127.0.0.1:{port}"]
    cert, key = certificate(place) if tls else (None, None)
    if tls:
        command += ["--tls-cert-file", str(cert), "--tls-key-file", str(key)]
    with started(command, place.cores.proxy, folder / "log", speaks=False) as it:
        wait_listening(it, port)
        # The first request starts the model server, which then belongs on the other core.
        ask(place, Running("llama-swap", f"127.0.0.1:{port}", trusted=cert))
        below = procfs.descendants(it.pid)
        models = tuple(pid for pid in below if procfs.runs(pid, upstream))
        for pid in models:
            move(pid, place.cores.load)
        own = (it.pid, *(pid for pid in below if pid not in models))
        yield Running("llama-swap", f"127.0.0.1:{port}", own, upstream=models, trusted=cert)


@contextmanager
def stock(place: Place, tls: bool) -> Iterator[Running]:
    """hypercorn, Quart and httpx, as one would write it first."""
    if importlib.util.find_spec("httpx") is None:
        raise CannotMeasure("httpx is not installed in this environment (pip install httpx)")
    port = free_port()
    command = [sys.executable, "-P", "-m", "tools.dev.bench.stock", "--upstream", place.upstream_url]
    command += ["--listen", f"127.0.0.1:{port}"]
    cert, key = certificate(place) if tls else (None, None)
    if tls:
        command += ["--cert", str(cert), "--key", str(key)]
    with started(command, place.cores.proxy, place.folder("stock") / "log", speaks=False) as it:
        wait_listening(it, port)
        yield Running("stock", f"127.0.0.1:{port}", (it.pid,), upstream=(place.upstream[0],), trusted=cert)


def ours(name: str, workers: int = 1, driver: str = "guest") -> Target:
    """swapyard with so many workers, and whoever drives their lanes."""

    def target(place: Place, tls: bool) -> AbstractContextManager[Running]:
        env = {"SWAPYARD_LANE_DRIVER": driver}
        return swapyard_target.running(place, workers, certificate(place) if tls else None, env, name=name)

    return target


TARGETS: dict[str, Target] = {
    "direct": direct,
    "nginx": nginx,
    "go": go,
    "llama-swap": llama_swap,
    "stock": stock,
    "swapyard": ours("swapyard"),
    "swapyard-2": ours("swapyard-2", workers=2),
    "swapyard-task": ours("swapyard-task", driver="task"),
}


def certificate(place: Place) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    cert, key = place.scratch / "cert.pem", place.scratch / "key.pem"
    if not cert.exists():
        run([str(place.programs / "cert"), "-cert", str(cert), "-key", str(key)], check=True)
    return cert, key


def ask(place: Place, target: Running) -> None:
    """One request, with a right answer, or ``CannotMeasure``."""
    found = drive(place, target, Load(1), requests=1)
    if found.errors:
        raise CannotMeasure(f"it does not answer as it should: {found.first_error}")


@contextmanager
def fleet(place: Place, names: Iterable[str], *, tls: bool = False) -> Iterator[tuple[list[Running], dict[str, str]]]:
    """The targets that can run here, all at once, each with one good answer; and why the others cannot."""
    running: list[Running] = []
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        for name in names:
            with ExitStack() as attempt:
                try:
                    found = attempt.enter_context(TARGETS[name](place, tls))
                    ask(place, found)
                except CannotMeasure as why:
                    missing[name] = str(why)
                    continue
                running.append(found)
                stack.enter_context(attempt.pop_all())
        yield running, missing
