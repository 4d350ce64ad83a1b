"""What the lane relies on of hypercorn's inside: this fails when a new version changes it."""

import inspect

from hypercorn.events import Closed, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import TrioSingleTask, WorkerContext
from hypercorn.utils import wrap_app


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


def test_an_answered_request_is_told_as_idle() -> None:
    assert "Updated(idle=True)" in inspect.getsource(H11Protocol)
