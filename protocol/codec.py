"""Frames of the worker socket: two numbers, then one msgpack message.

The header is the sender's message number and the last number it has received from the peer (an
acknowledgement), both u64. Whatever a peer sends, decoding raises ``PeerError`` and nothing else.
Used by ``worker_link.py`` and ``worker_hub.py``; the control socket's frames have no header.
"""

import struct
from typing import Any, Generic, TypeVar

import msgspec

from protocol.errors import PeerError

_HEADER = struct.Struct(">QQ")
T = TypeVar("T")


class FrameCodec(Generic[T]):
    """Encodes anything of the protocol, decodes the messages of type ``incoming`` (a union)."""

    def __init__(self, incoming: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(incoming)
        self._encoder = msgspec.msgpack.Encoder()

    def encode(self, number: int, received: int, message: Any) -> bytes:
        """One frame: message ``number``, acknowledging the peer's ``received``."""
        return _HEADER.pack(number, received) + self._encoder.encode(message)

    def decode(self, frame: bytes) -> tuple[int, int, T]:
        """Number, acknowledgement, message; ``PeerError`` for anything else."""
        number, received = self.header(frame)
        return number, received, decode(self._decoder, frame[_HEADER.size :])

    @staticmethod
    def header(frame: bytes) -> tuple[int, int]:
        """The two numbers of a frame, whose message may be anything."""
        if len(frame) < _HEADER.size:
            raise PeerError(f"a frame of {len(frame)} bytes is too short")
        number, received = _HEADER.unpack_from(frame)
        return number, received


def decode(decoder: msgspec.msgpack.Decoder[T], data: bytes) -> T:
    """Decode one message; ``PeerError`` for anything malformed."""
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PeerError(f"malformed message: {error}") from None
