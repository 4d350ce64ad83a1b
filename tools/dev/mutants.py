"""``make mutants``: each patch in ``tests/mutants`` breaks one rule, and must turn the test it names red.

A patch file begins with ``# test: <pytest node>`` lines; the rest is a unified diff. Each is applied to a copy
of the tracked files, never to the checkout. Exit 0 if all are caught, 1 otherwise, with one line for each.
"""

import shutil
import subprocess  # noqa: TID251 (a developer's tool that runs git and pytest, never a model)
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT = 120
"""Seconds for one mutant's test."""


def tests_of(patch: Path) -> list[str]:
    """The tests that a patch names."""
    return [line.removeprefix("# test:").strip() for line in patch.read_text().splitlines() if line.startswith("# ")]


def copy_tree(target: Path) -> None:
    """The tracked files, as they are in the checkout."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def run_tests(tree: Path, nodes: list[str]) -> bool:
    """Are these tests green in ``tree``?"""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *nodes]
    try:
        done = subprocess.run(command, cwd=tree, capture_output=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def judge(patch: Path) -> str:
    """``caught``, or what is wrong."""
    nodes = tests_of(patch)
    if not nodes:
        return "names no test"
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        copy_tree(tree)
        command = ["git", "apply", "--recount", str(patch)]
        applied = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
        if applied.returncode:
            return f"does not apply: {applied.stderr.strip()}"
        return "SURVIVED" if run_tests(tree, nodes) else "caught"


def main() -> int:
    """Judge every mutant."""
    patches = sorted((ROOT / "tests" / "mutants").glob("*.patch"))
    verdicts = {}
    for patch in patches:
        verdicts[patch.stem] = judge(patch)
        print(f"{verdicts[patch.stem]:10} {patch.stem}", flush=True)
    missed = [name for name, verdict in verdicts.items() if verdict != "caught"]
    print(f"{len(verdicts) - len(missed)} of {len(verdicts)} mutants caught")
    return 1 if missed or not verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
