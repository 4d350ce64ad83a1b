"""The examples in ``supervisor/scheduler/design.md``, as the modules that a reader would make of them."""

import functools
import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
DESIGN = ROOT / "supervisor" / "scheduler" / "design.md"


@functools.cache
def example(name: str) -> ModuleType:
    """The block that begins with ``# <name>.py``, run as a module."""
    blocks: list[str] = re.findall(r"```python\n(.*?)```", DESIGN.read_text(), re.DOTALL)
    (text,) = [block for block in blocks if block.startswith(f"# {name}.py\n")]
    module = ModuleType(name)
    exec(compile(text, f"{DESIGN}:{name}", "exec"), module.__dict__)
    return module
