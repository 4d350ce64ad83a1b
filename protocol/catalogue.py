"""What a worker must know of the configuration, sent by the supervisor, replaced as a whole.

The gateway never reads YAML. A catalogue has a revision, so that a reload is atomic for each worker.
Built in ``supervisor/worker_socket.py``; read by everything in ``gateway``.
"""

from msgspec import Struct

from protocol.ids import ModelId

Member = tuple[str, ...]
"""A member of a JSON body: the keys on the way to it, from the outside in."""
Assignments = tuple[tuple[Member, bytes], ...]
"""Members and the JSON text that each is set to, in the order of their application."""


class BodyFilters(Struct, frozen=True, kw_only=True):
    """Changes to a JSON body, in this order (``tests/compat/config.md`` §6.2)."""

    strip: tuple[Member, ...] = ()
    assign: Assignments = ()
    assign_by_name: dict[str, Assignments] = {}
    """By the name that the client used."""


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a model can do, for ``/v1/models``. ``inputs``, ``outputs``: text, audio, image; ``context``: tokens."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    tools: bool = False
    reranker: bool = False
    context: int = 0


class CatalogueModel(Struct, frozen=True, kw_only=True):
    """One configured model as clients see it (``tests/compat/behaviour.md`` §6)."""

    id: ModelId
    aliases: tuple[str, ...] = ()
    name: str = ""
    description: str = ""
    unlisted: bool = False
    use_model_name: str = ""
    """Name to put into the body sent upstream; empty keeps what the client wrote."""
    filters: BodyFilters | None = None
    """None: the body goes upstream as it came, but for ``use_model_name``."""
    capabilities: Capabilities | None = None
    connect: float = 30.0
    """Seconds for a connection to its server."""
    first_byte: float = 0.0
    """Seconds until its server begins to answer; 0: no limit."""
    metadata: bytes = b"{}"
    """JSON text of an object."""


class Limits(Struct, frozen=True, kw_only=True):
    """Bounds a worker enforces. Sizes in bytes, times in seconds.

    ``idle``: between two requests of a connection; ``head``: for a whole head; ``body``: without a byte of a body.
    """

    json_body: int = 64 * 1024 * 1024
    keep_alive_after: float = 15.0
    idle: float = 75.0
    head: float = 30.0
    body: float = 60.0


class Catalogue(Struct, frozen=True, kw_only=True):
    """Everything a worker answers from without asking."""

    revision: int
    models: tuple[CatalogueModel, ...] = ()
    key_digests: tuple[bytes, ...] = ()
    """SHA-256 of each API key (UTF-8); empty means that no key is asked for."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks whose ``x-swapyard-caller`` is believed."""
    limits: Limits = Limits()
    not_built: dict[str, str] = {}
    """Names that the configuration knows and this version cannot serve, with the key that declares each."""
    aliases_in_list: bool = False
    """``/v1/models`` has a record for each alias."""
    log_level: str = "info"
    """debug, info, warning or error."""
