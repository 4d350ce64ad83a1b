"""llama.cpp's HTTP server from the ``xllamacpp`` wheel, for any GGUF file. Runs as a model process.

``python -P -m tools.llama_server --model FILE --port N``. Ends cleanly on SIGTERM. Mistakes get one line.
"""

import argparse
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn


def parser() -> argparse.ArgumentParser:
    """The options, named as llama-server names them."""
    made = argparse.ArgumentParser(prog="python -m tools.llama_server", description=__doc__, allow_abbrev=False)
    made.add_argument("--model", "-m", type=Path, required=True, metavar="FILE", help="a GGUF file")
    made.add_argument("--port", type=int, required=True)
    made.add_argument("--host", default="127.0.0.1")
    made.add_argument("--alias", default="", help="the model's name in answers (the file's name)")
    made.add_argument("--ctx-size", "-c", type=int, default=4096, help="tokens, shared by all slots")
    made.add_argument("--parallel", type=int, default=1, help="requests at the same time")
    made.add_argument("--threads", "-t", type=int, default=os.cpu_count() or 1)
    made.add_argument("--embeddings", action="store_true", help="answer /v1/embeddings too")
    made.add_argument("--pooling", choices=["none", "mean", "cls", "last"], default="mean", help="for embeddings")
    return made


def check(options: argparse.Namespace) -> None:
    """What can be known before the engine starts."""
    try:
        with options.model.open("rb") as file:
            if file.read(4) != b"GGUF":
                fail(f"{options.model} is not a GGUF file")
    except OSError as error:
        fail(f"{options.model}: {error.strerror}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.host, options.port))
        except OSError as error:
            fail(f"cannot listen on {options.host}:{options.port}: {error.strerror}")


def parameters(engine: Any, options: argparse.Namespace) -> Any:
    """llama.cpp's own parameter object."""
    made = engine.CommonParams()
    made.model.path = str(options.model)
    made.model_alias = {options.alias or options.model.stem}
    made.hostnames = [options.host]
    made.port = options.port
    made.n_ctx = options.ctx_size
    made.n_parallel = options.parallel
    made.cpuparams.n_threads = options.threads
    made.cpuparams_batch.n_threads = options.threads
    made.endpoint_metrics = made.endpoint_slots = made.endpoint_props = True
    if options.embeddings:
        made.embedding = True
        made.pooling_type = getattr(engine.llama_pooling_type, f"LLAMA_POOLING_TYPE_{options.pooling.upper()}")
    return made


def main() -> int:
    """Serve until SIGTERM."""
    options = parser().parse_args()
    check(options)
    try:
        import xllamacpp
    except ImportError:
        fail("the llama.cpp wheel is not installed; install swapyard with its 'demo' extra")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        server = xllamacpp.Server(parameters(xllamacpp, options))
    except (RuntimeError, ValueError) as error:
        fail(f"llama.cpp cannot load {options.model}: {error}")
    print(f"{options.model.name} is served on http://{options.host}:{options.port}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    sys.stdout.flush()
    del server
    return 0


def fail(text: str) -> NoReturn:
    """One line, exit 1."""
    print(f"llama_server: {text}", file=sys.stderr, flush=True)
    sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
