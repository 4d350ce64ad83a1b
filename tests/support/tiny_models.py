"""Generated models for tests, made once for a machine and seed."""

import os
import tempfile
from pathlib import Path

from tools.tiny_model import write_tiny_model


def tiny_model(seed: int) -> Path:
    """The file of the model with this seed; made when it is not there."""
    path = Path(tempfile.gettempdir()) / f"swapyard-test-{os.getuid()}-tiny-{seed}.gguf"
    if not path.exists():
        made = write_tiny_model(path.with_suffix(f".{os.getpid()}"), seed)
        made.rename(path)
    return path
