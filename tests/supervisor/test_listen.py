"""The listening sockets: shared by slots, never with strangers."""

import socket

import pytest

from supervisor.listen import CannotListen, listening


def test_each_slot_gets_a_socket_on_the_same_port() -> None:
    with listening("127.0.0.1", 0, 3, 60.0) as sockets:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1


def test_a_port_that_another_program_shares_is_refused_all_the_same() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"cannot listen on 127.0.0.1:{port}"):
            listening("127.0.0.1", port, 1, 60.0).__enter__()


def test_a_host_that_is_not_ours_is_one_line() -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on no.such.host.invalid:80"):
        listening("no.such.host.invalid", 80, 1, 60.0).__enter__()
