"""What loading a configuration of 1,000 models costs: from one file, from a folder of files, and its first step alone.

Each model has a command with macros and a port, two aliases, environment, time to live and a group.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from config.check import load
from config.errors import Problems
from config.load import ENGINES, Loader
from config.sources import Sources
from tools.dev.bench.table import Case, measure

MODELS = 1000
IN_A_GROUP = 10
FILES = 50

HEAD = """\
startPort: 10000
macros:
  models_dir: /models
  server: sh --host 127.0.0.1 --port ${PORT} --n-gpu-layers 99
  context: 16384
"""
MODEL = """\
  model-{number:04}:
    cmd: |
      ${{server}} --model ${{models_dir}}/${{MODEL_ID}}-${{quant}}.gguf
      --ctx-size ${{context}}
    aliases: [alias-{number:04}, "org/other-{number:04}"]
    env: ["CUDA_VISIBLE_DEVICES={device}", "LLAMA_ARG_THREADS=8"]
    ttl: {ttl}
    macros:
      quant: Q4_K_M
"""


def text_of(numbers: range) -> str:
    """Models, and the groups that they are in."""
    models = [MODEL.format(number=number, device=number % 4, ttl=300 + number) for number in numbers]
    groups = []
    for first in numbers[::IN_A_GROUP]:
        members = ", ".join(f"model-{number:04}" for number in range(first, first + IN_A_GROUP))
        groups.append(f"  group-{first:04}: {{swap: false, members: [{members}]}}\n")
    return "".join(["models:\n", *models, "groups:\n", *groups])


def loading(sources: Sources) -> Callable[[], float]:
    """Everything, from the files to frozen values."""

    def run() -> float:
        began = time.perf_counter()
        loaded = load(sources)
        taken = time.perf_counter() - began
        if loaded.settings is None or len(loaded.settings.models) != MODELS or loaded.problems:
            raise RuntimeError(loaded.problems)
        return taken

    return run


def parsing(text: str, engine: int) -> Callable[[], float]:
    """YAML into a tree, by one parser."""

    def run() -> float:
        began = time.perf_counter()
        Loader(Problems(), ENGINES[engine : engine + 1]).parse(text, Path("config.yaml"))
        return time.perf_counter() - began

    return run


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as scratch:
        file, folder = Path(scratch) / "config.yaml", Path(scratch) / "conf.d"
        text = HEAD + text_of(range(MODELS))
        file.write_text(text)
        folder.mkdir()
        (folder / "00.yaml").write_text(HEAD)
        for first in range(0, MODELS, MODELS // FILES):
            (folder / f"{first:04}.yaml").write_text(text_of(range(first, first + MODELS // FILES)))
        cases = [
            Case("load 1,000 models", loading(Sources(file)), 300_000.0),
            Case(f"load 1,000 models from {FILES} files", loading(Sources(None, folder)), 300_000.0),
            Case("their YAML into a tree, by libyaml", parsing(text, 0)),
            Case("their YAML into a tree, in Python", parsing(text, 1)),
        ]
        print("configuration")
        print("\n".join(measure(cases)))
