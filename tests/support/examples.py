"""The examples in ``supervisor/scheduler/design.md``, as the modules that a reader would make of them."""

import functools
import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
DESIGN = ROOT / "supervisor" / "scheduler" / "design.md"


def source(name: str) -> str:
    """The block that begins with ``# <name>.py``."""
    blocks: list[str] = re.findall(r"```python\n(.*?)```", DESIGN.read_text(), re.DOTALL)
    (text,) = [block for block in blocks if block.startswith(f"# {name}.py\n")]
    return text


@functools.cache
def example(name: str) -> ModuleType:
    """The same, run as a module."""
    module = ModuleType(name)
    exec(compile(source(name), f"{DESIGN}:{name}", "exec"), module.__dict__)
    return module
