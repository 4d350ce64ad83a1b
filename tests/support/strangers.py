"""A distribution of somebody else, with the tutorial's policy and eviction rule in it, as ``pip`` would leave it."""

from pathlib import Path

from tests.support.examples import source

_ENTRY_POINTS = """[swapyard.policies]
strict = stranger.strict:Strict
broken = stranger.strict:Nothing_
wrong = stranger.numbers:NUMBER
raising = stranger.raising:Strict

[swapyard.evictions]
lru = stranger.lru:LeastRecentlyUsed
absent = stranger.nowhere:Rule
"""
_MODULES = {
    "numbers": "NUMBER = 3\n",
    "raising": "raise RuntimeError('no licence')\n",
}


def install(folder: Path) -> None:
    """Put it into a folder that is on the path, or will be."""
    package = folder / "stranger"
    package.mkdir()
    (package / "__init__.py").touch()
    for name, text in {**_MODULES, "strict": source("strict"), "lru": source("lru")}.items():
        (package / f"{name}.py").write_text(text)
    info = folder / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(_ENTRY_POINTS)
