"""The options of ``swapyard serve`` (the command itself: ``test_cli.py`` and ``tests/e2e``)."""

from pathlib import Path

import pytest

from tests.tools.test_cli import run
from tools.serve import is_loopback, listen_address, serve_parser


@pytest.mark.rule("C1.4")
def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    assert serve_parser().parse_args(["--config", "x"]).listen == "127.0.0.1:8080"
    for option in ("--listen", "-listen"):
        assert serve_parser().parse_args(["-config=x", option, ":9000"]).listen == ":9000"
    assert listen_address(":9000") == ("", 9000)
    assert listen_address("[::1]:0") == ("[::1]", 0)


@pytest.mark.rule("C1.10")
@pytest.mark.parametrize(
    ("host", "only_here"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("localhost", True),
     ("", False), ("0.0.0.0", False), ("::", False), ("192.168.1.2", False), ("example.org", False)],
)  # fmt: skip
def test_which_addresses_only_this_machine_reaches(host: str, only_here: bool) -> None:
    assert is_loopback(host) == only_here


@pytest.mark.rule("C1.10")
async def test_whoever_opens_it_to_the_network_is_told(tmp_path: Path) -> None:
    done = await run("tools.cli", "serve", "--config", "none.yaml", "--listen", "0.0.0.0:0", cwd=tmp_path)
    first = done.stderr.decode().splitlines()[0]
    assert first.startswith("swapyard: listening on 0.0.0.0:0: everybody who reaches this machine can use it")
    done = await run("tools.cli", "serve", "--config", "none.yaml", "--listen", "127.0.0.1:0", cwd=tmp_path)
    assert "everybody" not in done.stderr.decode()
