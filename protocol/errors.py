"""What can go wrong in a conversation: our mistake, the peer's, or the place it happens in."""


class ProtocolError(Exception):
    """Base of everything that this package raises on purpose."""


class LocalProtocolError(ProtocolError):
    """We tried to say something the protocol does not allow."""


class PeerError(ProtocolError):
    """A peer said something malformed or out of order; the frame is dropped and counted."""


class PeerGone(ProtocolError):
    """The peer is unknown to the socket, or has gone."""


class ConversationEnded(ProtocolError):
    """The other process is gone or refuses to talk; no answer will come."""


class RuntimeDirError(ProtocolError):
    """The runtime directory cannot be used; the text names the path and the remedy."""


class AlreadyRunning(RuntimeDirError):
    """Another supervisor holds the runtime directory; the text names its pid."""
