"""The command line of the supervisor process: what ``swapyard serve`` resolved and passes on.

Checked by ``tools/cli.py`` before; an error here is a mistake of ours or of somebody who starts
``python -m supervisor`` by hand, and still gets one clear line.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from config.sources import Sources

GRACE = 30.0
"""Seconds that running exchanges get after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Options:
    """``workers`` is at least 1; ``port`` 0 picks a free one."""

    sources: Sources
    host: str
    port: int
    workers: int
    runtime_dir: Path | None
    log_level: str | None
    grace: float = GRACE
    watch_config: bool = False
    certificate: tuple[Path, Path] | None = None
    """Files for TLS: the certificate, and its key."""


def parse(arguments: list[str]) -> Options:
    """Options from the command line; exits 2 with one line when it is bad."""
    parser = argparse.ArgumentParser(prog="swapyard serve", allow_abbrev=False)
    parser.add_argument("--config", type=Path, default=None)
    parser.add_argument("--config-dir", type=Path, default=None)
    parser.add_argument("--listen", default="127.0.0.1:8080")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--runtime-dir", type=Path, default=None)
    parser.add_argument("--log-level", default=None, choices=["debug", "info", "warning", "error"])
    parser.add_argument("--grace", type=float, default=GRACE)
    parser.add_argument("--watch-config", action="store_true")
    parser.add_argument("--tls-cert-file", type=Path, default=None)
    parser.add_argument("--tls-key-file", type=Path, default=None)
    found = parser.parse_args(arguments)
    if found.config is None and found.config_dir is None:
        parser.error("--config or --config-dir is needed")
    if (found.tls_cert_file is None) != (found.tls_key_file is None):
        parser.error("--tls-cert-file and --tls-key-file are needed together")
    host, _, port = found.listen.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        parser.error(f"--listen {found.listen}: expected [HOST]:PORT")
    workers = found.workers if found.workers is not None else (2 if (os.cpu_count() or 1) >= 4 else 1)
    if workers < 1:
        parser.error(f"--workers {workers}: at least 1 is needed")
    return Options(
        sources=Sources(found.config, found.config_dir),
        host=host.strip("[]"),
        port=int(port),
        workers=workers,
        runtime_dir=found.runtime_dir,
        log_level=found.log_level,
        grace=found.grace,
        watch_config=found.watch_config,
        certificate=None if found.tls_cert_file is None else (found.tls_cert_file, found.tls_key_file),
    )
