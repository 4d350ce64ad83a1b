"""What a worker must know of the configuration, sent by the supervisor, replaced as a whole.

The gateway never reads YAML. A catalogue has a revision, so that a reload is atomic for each worker.
Built in ``supervisor/worker_socket.py``; read by everything in ``gateway``.
"""

from msgspec import Struct

from protocol.ids import ModelId


class CatalogueModel(Struct, frozen=True, kw_only=True):
    """One configured model as clients see it (``tests/compat/behaviour.md`` §6)."""

    id: ModelId
    aliases: tuple[str, ...] = ()
    name: str = ""
    description: str = ""
    unlisted: bool = False
    use_model_name: str = ""
    """Name to put into the body sent upstream; empty keeps what the client wrote."""


class Limits(Struct, frozen=True, kw_only=True):
    """Bounds a worker enforces. Sizes in bytes, times in seconds."""

    json_body: int = 64 * 1024 * 1024
    keep_alive_after: float = 15.0
    upstream_connect: float = 10.0


class Catalogue(Struct, frozen=True, kw_only=True):
    """Everything a worker answers from without asking."""

    revision: int
    models: tuple[CatalogueModel, ...] = ()
    key_digests: tuple[bytes, ...] = ()
    """SHA-256 of each API key (UTF-8); empty means that no key is asked for."""
    limits: Limits = Limits()
    log_level: str = "info"
    """debug, info, warning or error."""
