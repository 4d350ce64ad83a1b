"""The options of ``swapyard serve`` (the command itself: ``test_cli.py`` and ``tests/e2e``)."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import trio
import trustme

from tests.support.tls import client_context, encrypt, write_certificate
from tests.support.yard import PATIENCE, Yard, fake, yard
from tests.tools.test_cli import run
from tools.serve import is_loopback, listen_address, serve_parser, where_to_listen


@pytest.mark.rule("C1.4")
def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    assert where_to_listen(serve_parser().parse_args(["--config", "x"])) == "127.0.0.1:8080"
    assert where_to_listen(serve_parser().parse_args(["--config=x", "-tls-cert-file=c"])) == "127.0.0.1:8443"
    for option in ("--listen", "-listen"):
        assert where_to_listen(serve_parser().parse_args(["-config=x", option, ":9000"])) == ":9000"
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


# ------------------------------------------------------------------ TLS


def other_key(cert: Path, key: Path) -> None:
    key.write_bytes(trustme.CA().issue_cert("localhost").private_key_pem.bytes())


@pytest.mark.rule("C1.5")
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda cert, _: cert.unlink(), "--tls-cert-file {cert}: it cannot be read: No such file or directory; name a"),
        (lambda _, key: key.unlink(), "--tls-key-file {key}: it cannot be read: No such file or directory; name a"),
        (lambda cert, _: cert.write_text("x"), "--tls-cert-file {cert}: there is no certificate in PEM format in it"),
        (lambda cert, key: cert.write_bytes(key.read_bytes()), "--tls-cert-file {cert}: there is no certificate in"),
        (
            lambda cert, _: cert.write_bytes(cert.read_bytes()[:200]),
            "--tls-cert-file {cert}: there is no certificate in",
        ),
        (lambda _, key: key.write_text("x"), "--tls-key-file {key}: there is no private key in PEM format in it"),
        (lambda cert, key: key.write_bytes(cert.read_bytes()), "--tls-key-file {key}: there is no private key in PEM"),
        (other_key, "--tls-key-file {key}: the key is not the one of the certificate in {cert}; name the two that"),
        (lambda _, key: encrypt(key), "--tls-key-file {key}: the key is encrypted; decrypt it: openssl pkey -in {key}"),
    ],
    ids=["no cert", "no key", "noise", "key as cert", "cut", "noise as key", "cert as key", "other key", "encrypted"],
)
async def test_files_that_cannot_serve_are_one_line_before_anything_starts(
    tmp_path: Path, spoil: Callable[[Path, Path], object], words: str
) -> None:
    cert, key = write_certificate(tmp_path)
    spoil(cert, key)
    done = await run(
        "tools.cli", "serve", "--config", "none.yaml", f"--tls-cert-file={cert}", "-tls-key-file", str(key)
    )
    said = done.stderr.decode()
    assert (done.returncode, len(said.splitlines())) == (2, 1), said
    assert said.startswith(f"swapyard: {words.format(cert=cert, key=key)}")


@pytest.mark.rule("C1.5")
@pytest.mark.parametrize(("given", "missing"), [("cert", "key"), ("key", "cert")])
async def test_one_file_is_an_error_that_names_the_other(tmp_path: Path, given: str, missing: str) -> None:
    write_certificate(tmp_path)
    file = tmp_path / f"{given}.pem"
    done = await run("tools.cli", "serve", "--config", "none.yaml", f"--tls-{given}-file={file}")
    said = done.stderr.decode()
    assert done.returncode == 2
    assert said.startswith(f"swapyard: --tls-{given}-file {file}: ")
    assert said.endswith(f"is missing; name it with --tls-{missing}-file FILE\n")


CONFIG = f"models: {{one: {{cmd: '{fake('--name one')}'}}}}"
CHAT = {"model": "one", "messages": [{"role": "user", "content": "hello"}]}


def client(it: Yard) -> httpx.AsyncClient:
    """One that verifies the certificate."""
    return httpx.AsyncClient(base_url=f"https://127.0.0.1:{it.port}", verify=client_context(), timeout=PATIENCE)


@pytest.mark.rule("C1.5")
async def test_https_with_a_model_for_clients_that_verify_the_certificate(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    async with yard(CONFIG, "--tls-cert-file", str(cert), "--tls-key-file", str(key)) as it:
        assert it.lines[0].startswith(f"swapyard listening on https://127.0.0.1:{it.port} (")
        assert (await it.status()).listen == f"https://127.0.0.1:{it.port}"
        async with client(it) as http:
            for _ in range(3):
                answer = await http.post("/v1/chat/completions", json=CHAT)
                assert (answer.status_code, answer.json()["model"]) == (200, "one")
                assert (await http.get("/v1/models")).json()["data"][0]["id"] == "one"
            async with http.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as stream:
                assert [line async for line in stream.aiter_lines() if line][-1] == "data: [DONE]"
        assert not [line for line in it.log().splitlines() if "PRIVATE" in line]


async def test_a_worker_that_starts_again_takes_renewed_files_and_one_that_cannot_says_why(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    async with yard(CONFIG, "--tls-cert-file", str(cert), "--tls-key-file", str(key), "--workers", "1") as it:
        good = cert.read_bytes()
        cert.write_text("nothing")
        (worker,) = (await it.status()).workers
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)  # noqa: TID251 (made by this test)
        with trio.fail_after(PATIENCE):
            while f"{cert} and {key} cannot be used for TLS" not in it.log():
                await trio.sleep(0.02)
        assert "Traceback" not in it.log()
        cert.write_bytes(good)
        async with client(it) as http:
            assert (await http.post("/v1/chat/completions", json=CHAT)).status_code == 200
