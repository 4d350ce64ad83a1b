"""Certificates for tests, and clients that verify them: real ones, of an authority that lives as long as the tests."""

import ssl
from functools import cache
from pathlib import Path

import trio
import trustme
from cryptography.hazmat.primitives import serialization

HOST = "127.0.0.1"


@cache
def authority() -> trustme.CA:
    """Whom the clients of the tests trust."""
    return trustme.CA()


@cache
def _issued() -> trustme.LeafCert:
    return authority().issue_cert(HOST, "localhost")


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Files of a certificate for this machine and of its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    issued = _issued()
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return cert, key


def encrypt(key: Path) -> None:
    """Protect the file of a key with a password."""
    made = serialization.load_pem_private_key(key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"sesame")
    key.write_bytes(made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))


@cache
def client_context(*alpn: str) -> ssl.SSLContext:
    """What a client needs that verifies the certificate, and offers these protocols."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


async def open_tls(port: int, *alpn: str) -> "trio.SSLStream[trio.SocketStream]":
    """A connection; an end without close_notify is a ``BrokenResourceError``."""
    plain = await trio.open_tcp_stream(HOST, port)
    return trio.SSLStream(plain, client_context(*alpn), server_hostname=HOST)


async def leave(stream: trio.abc.Stream, how: str) -> None:
    """Let a client go: with everything that belongs to it, with FIN alone, or with a reset."""
    under = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    assert isinstance(under, trio.SocketStream)
    match how:
        case "half":
            await under.send_eof()
        case "reset":
            under.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")
            await under.aclose()
        case _:
            await stream.aclose()
