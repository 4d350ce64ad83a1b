"""``make mutants``: each patch in ``tests/mutants`` breaks one rule, and must turn the tests it names red.

A patch file begins with a line ``# rule: <what it breaks>`` and lines ``# test: <pytest node>``; the rest is a
unified diff. Each is applied to a copy of the tracked files, never to the checkout. The named tests have to be
green without it, and have to fail with it: a test that is missing, or that cannot be imported, catches nothing.
Exit 0 if all are caught, 1 otherwise, with one line for each. Arguments: names, to judge only those.
"""

import shutil
import subprocess  # noqa: TID251 (a developer's tool that runs git and pytest, never a model)
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
MUTANTS = ROOT / "tests" / "mutants"
LIMIT = 120
"""Seconds for one mutant's tests, and for those of all without one."""
GREEN, RED = 0, 1
"""Exit statuses of pytest; all others mean that the tests did not run."""


def lines_of(patch: Path, kind: str) -> list[str]:
    """What a patch says in its lines of this kind."""
    start = f"# {kind}:"
    return [line.removeprefix(start).strip() for line in patch.read_text().splitlines() if line.startswith(start)]


def copy_tree(target: Path) -> None:
    """The tracked files, as they are in the checkout."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def run_tests(tree: Path, nodes: Sequence[str]) -> tuple[int | None, str]:
    """The exit status of pytest in ``tree``, None if it took too long, and its last line."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *nodes]
    try:
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return None, f"no end within {LIMIT} s"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return done.returncode, lines[-1] if lines else ""


def judge(patch: Path) -> str:
    """``caught``, or what is wrong."""
    nodes = lines_of(patch, "test")
    if not nodes or not lines_of(patch, "rule"):
        return "names no test, or no rule"
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        copy_tree(tree)
        command = ["git", "apply", "--recount", str(patch)]
        applied = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
        if applied.returncode:
            return f"does not apply: {applied.stderr.strip()}"
        status, last = run_tests(tree, nodes)
    if status == RED:
        return "caught"
    return "SURVIVED" if status == GREEN else f"its tests did not run: {last}"


def main(names: Sequence[str] = ()) -> int:
    """Judge every mutant, or those named."""
    patches = [patch for patch in sorted(MUTANTS.glob("*.patch")) if not names or patch.stem in names]
    tests = dict.fromkeys(node for patch in patches for node in lines_of(patch, "test"))
    status, last = run_tests(ROOT, list(tests))
    if status != GREEN:
        print(f"the named tests are not green without a mutant: {last}")
        return 1
    verdicts = {}
    for patch in patches:
        verdicts[patch.stem] = judge(patch)
        print(f"{verdicts[patch.stem]:8} {patch.stem:44} {'; '.join(lines_of(patch, 'rule'))}", flush=True)
    missed = [name for name, verdict in verdicts.items() if verdict != "caught"]
    print(f"{len(verdicts) - len(missed)} of {len(verdicts)} mutants caught")
    return 1 if missed or not verdicts else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
