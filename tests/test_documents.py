"""What the documents say is true: their configurations load, their commands and files exist."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from config.check import load, load_text
from config.errors import Severity
from config.json_schema import schema
from supervisor.scheduler.policies.fifo import DEFAULT_MAX_WAIT
from tools import ctl
from tools.check import refused_by_parts
from tools.cli import COMMANDS

ROOT = Path(__file__).parents[1]
EXAMPLES = [
    "config.example.yaml",
    "config.matrix.example.yaml",
    "config.memory.example.yaml",
    "config.window.example.yaml",
]
DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "supervisor/scheduler/design.md"]


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", blocks("README.md", "yaml"))
def test_the_configurations_in_the_readme_load(block: str) -> None:
    loaded = load_text(block)
    assert loaded.settings is not None, loaded.problems
    assert all("there is no program" in problem.text for problem in loaded.problems), loaded.problems


def test_the_example_configuration_is_valid_and_has_every_key() -> None:
    text = ""
    for name in EXAMPLES:
        loaded = load(ROOT / name)
        assert loaded.settings is not None, loaded.problems
        warned = [problem for problem in loaded.problems if problem.severity is not Severity.NOTICE]
        assert all("there is no program" in problem.text for problem in warned), warned
        assert not refused_by_parts(loaded)
        text += (ROOT / name).read_text()
    for key in keys_of(schema()):
        assert re.search(rf"^ *#? ?{key}:", text, re.MULTILINE), key


def keys_of(found: Mapping[str, Any]) -> Iterator[str]:
    """Every key that the schema knows, at any depth."""
    for key, entry in found.get("properties", {}).items():
        yield key
        yield from keys_of(entry)
    inner = [found.get("additionalProperties"), *(part.get("then") for part in found.get("allOf", ()))]
    for part in inner:
        if isinstance(part, Mapping):
            yield from keys_of(part)


def test_the_defaults_that_the_example_names_are_the_defaults() -> None:
    found = load(ROOT / "config.example.yaml").settings
    plain = load_text("models:\n  chat: {cmd: 'sh ${PORT}'}\n").settings
    assert found is not None
    assert plain is not None
    assert found.gateway == plain.gateway
    assert found.log_level == plain.log_level
    assert found.routing.policy_settings["maxWait"] == DEFAULT_MAX_WAIT
    assert found.routing.policy_settings["minResident"] == 0
    embed, bare = found.models["embed"], plain.models["chat"]
    assert (embed.ttl, embed.unload_timeout, embed.health_check_timeout, embed.queue_timeout) == (
        bare.ttl,
        bare.unload_timeout,
        bare.health_check_timeout,
        bare.queue_timeout,
    )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_a_document_links_to_exist(document: str) -> None:
    base = (ROOT / document).parent
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / document).read_text()):
        assert (base / target).exists(), target


def test_the_commands_that_the_readme_shows_exist() -> None:
    shown = "\n".join(blocks("README.md", "sh"))
    for command in re.findall(r"bin/swapyard (\w+)", shown):
        assert command in COMMANDS
    for line in re.findall(r"bin/swapctl ([^#\n]+)", shown):
        ctl.parser().parse_args(line.split())
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", shown, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_file_that_the_architecture_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    names = set(re.findall(r"`([a-z_/]+\.(?:py|md))`", text))
    everything = {str(path.relative_to(ROOT)) for path in ROOT.glob("*/**/*.py")}
    for name in names:
        assert any(path == name or path.endswith(f"/{name}") for path in everything), name
