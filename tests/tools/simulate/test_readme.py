"""The example of the README is what the command prints."""

import re
import sys
from pathlib import Path

import pytest
import trio

from tools.simulate.options import parser
from tools.simulate.trace import arrival_of

README = (Path(__file__).parents[3] / "README.md").read_text()
EXAMPLES = re.findall(
    r"^```sh\n\S*swapyard (simulate [^\n]+)\n```\n\n```text\n(.*?)^```", README, re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize(("command", "printed"), EXAMPLES)
async def test_an_example_prints_what_the_readme_says(command: str, printed: str) -> None:
    with trio.fail_after(120):
        done = await trio.run_process(  # noqa: TID251
            [sys.executable, "-P", "-m", "tools.cli", *command.split()], capture_stdout=True, capture_stderr=True
        )
    assert done.stdout.decode().startswith(f"{printed}\n"), f"put into README.md:\n{done.stdout.decode()}"


def test_there_is_an_example_and_all_commands_and_the_line_of_a_trace_are_understood() -> None:
    assert EXAMPLES
    commands = re.findall(r"bin/swapyard simulate ([^#\n]+)", README)
    assert len(commands) >= 3
    for command in commands:
        parser().parse_args(command.split())
    (line,) = re.findall(r"^```json\n(\{.*?\})\n```", README, re.MULTILINE)
    assert arrival_of(line.encode(), {"qwen": "qwen"}).cancel_after == 30.0
