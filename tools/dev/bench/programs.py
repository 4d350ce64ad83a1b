"""The compiled programs of the benchmark: ``upstream``, ``load``, ``proxy``, ``cert``, built from ``go/`` on demand.

They go to ``.build/``, which git ignores. Go's own cache makes a second build a matter of a moment.
"""

import fcntl
import os
import shutil
import subprocess  # noqa: TID251 (a developer's tool that runs the compiler, never a model)
from pathlib import Path

from tools.dev.bench.problems import CannotMeasure

SOURCES = Path(__file__).parent / "go"
BUILT = Path(__file__).parent / ".build"
WITHOUT_GO = (
    "go is not on the PATH; the benchmark's load generator and model server are Go programs (any version from 1.21)"
)


def build(into: Path = BUILT) -> Path:
    """The folder with the programs, up to date."""
    go = shutil.which("go")
    if go is None:
        raise CannotMeasure(WITHOUT_GO)
    into.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "GOFLAGS": "-buildvcs=false",
    }
    with (into / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [go, "build", "-o", f"{into}/", "./..."]
        done = subprocess.run(command, cwd=SOURCES, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMeasure(f"go build in {SOURCES} failed:\n{done.stderr.strip()}")
    return into
