"""What the lane relies on of hypercorn's inside: this fails when a new version changes it."""

import inspect
import ssl
from pathlib import Path

import pytest
from hypercorn.config import Config
from hypercorn.events import Closed, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import TrioSingleTask, WorkerContext
from hypercorn.utils import wrap_app

from gateway.lane.handover import HandedStream, HandedTlsStream, tls_context
from gateway.serve import Certificate, hypercorn_config
from tests.support.tls import encrypt, write_certificate


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_what_is_made_and_overridden_has_the_shape_that_we_know() -> None:
    assert parameters(TCPServer.__init__) == ["self", "app", "config", "context", "state", "stream"]
    assert parameters(TCPServer.protocol_send) == ["self", "event"]
    assert parameters(TCPServer.run) == ["self"]
    assert parameters(TrioSingleTask.restart) == ["self", "task_group", "action"]
    assert parameters(TrioSingleTask.stop) == ["self"]
    assert parameters(Lifespan.__init__) == ["self", "app", "config", "state"]
    assert parameters(WorkerContext.__init__) == ["self", "max_requests"]
    assert parameters(wrap_app) == ["app", "wsgi_max_body_size", "mode"]
    assert parameters(ProtocolWrapper.handle) == ["self", "event"]
    assert Updated(idle=True).idle
    assert Closed() is not None


def test_hypercorn_reads_and_writes_through_the_stream_and_nothing_else() -> None:
    source = inspect.getsource(TCPServer)
    used = {"receive_some", "send_all", "send_eof", "aclose", "socket", "do_handshake", "transport_stream",
            "selected_alpn_protocol"}  # fmt: skip
    assert {word.split("(")[0].split(".")[0].strip() for word in source.split("self.stream.")[1:]} >= used - {"socket"}
    found = {word.split("(")[0].split(")")[0].split(".")[0].split("\n")[0] for word in source.split("self.stream.")[1:]}
    assert found <= used


def test_what_makes_a_stream_one_of_tls() -> None:
    source = inspect.getsource(TCPServer.run)
    assert "alpn_protocol = self.stream.selected_alpn_protocol()" in source
    assert "socket = self.stream.transport_stream.socket" in source
    assert "except AttributeError:  # Not SSL" in source
    assert 'alpn_protocol == "h2"' in inspect.getsource(ProtocolWrapper)
    for name in ("do_handshake", "selected_alpn_protocol", "transport_stream"):
        assert hasattr(HandedTlsStream, name)
        assert not hasattr(HandedStream, name)


def test_the_context_of_tls_is_as_we_say(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    assert tls_context(hypercorn_config()) is None
    assert Config().alpn_protocols == ["h2", "http/1.1"]
    context = tls_context(hypercorn_config(Certificate(str(cert), str(key))))
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_an_encrypted_key_is_an_error_and_no_question(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    encrypt(key)
    with pytest.raises(OSError, match=r".*"):
        tls_context(hypercorn_config(Certificate(str(cert), str(key))))


def test_an_answered_request_is_told_as_idle() -> None:
    assert "Updated(idle=True)" in inspect.getsource(H11Protocol)
