"""Frozen values: what the rest of the program sees of a configuration file.

Built by ``config/resolve.py`` from ``config/load.py``'s tree; nobody else constructs them but tests.
Times are seconds, sizes bytes. Mapping order is file order, and ties are broken by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Filters:
    """Changes to JSON bodies (``tests/compat/config.md`` §6.2). Keys are paths: ``a.b`` is member b of a."""

    strip_params: tuple[str, ...] = ()
    """Sorted, each once."""
    set_params: Mapping[str, Any] = field(default_factory=dict)
    set_params_by_id: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By the name that the client used."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Of connections to a server; 0: no limit (``tests/compat/config.md`` §6)."""

    connect: float = 30.0
    keepalive: float = 30.0
    response_header: float = 0.0
    tls_handshake: float = 10.0
    expect_continue: float = 1.0
    idle_conn: float = 90.0


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do, as ``/v1/models`` tells it. ``context``: tokens."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    tools: bool = False
    reranker: bool = False
    context: int = 0


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One entry of ``models`` after macros and defaults (``tests/compat/config.md`` §6)."""

    id: str
    cmd: tuple[str, ...]
    proxy: str
    """Base URL of the model server, after ``${PORT}``; may have a path."""
    cmd_stop: tuple[str, ...] | None = None
    """``${PID}`` is still in it: known only when it runs."""
    check_endpoint: str | None = "/health"
    """Path and query; None: ready as soon as it is spawned."""
    env: tuple[tuple[str, str], ...] = ()
    ttl: float = 0.0
    """Idle seconds before it is stopped; 0: never."""
    aliases: tuple[str, ...] = ()
    name: str = ""
    description: str = ""
    unlisted: bool = False
    use_model_name: str = ""
    concurrency_limit: int = 10
    queue_limit: int = 512
    """0 by default where ``concurrencyLimit`` is said (design.md section 8)."""
    queue_timeout: float = 1800.0
    unload_timeout: float = 10.0
    health_check_timeout: float = 120.0
    memory: Mapping[str, int] = field(default_factory=dict)
    """Bytes on each device; for ``use: memory``."""
    pinned: bool = False
    """Never evicted; for ``use: memory``."""
    evict_cost: int = 1
    filters: Filters = Filters()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    capabilities: Capabilities = Capabilities()
    send_loading_state: bool = False
    timeouts: Timeouts = Timeouts()
    ignore_websockets: bool = False


@dataclass(frozen=True, slots=True)
class Peer:
    """One entry of ``peers``: another gateway or service (``tests/compat/config.md`` §8)."""

    id: str
    proxy: str
    models: tuple[str, ...]
    api_key: str = field(default="", repr=False)
    filters: Filters = Filters()
    timeouts: Timeouts = Timeouts(response_header=60.0)


@dataclass(frozen=True, slots=True)
class Profile:
    """One entry of ``profiles``; a pin to None makes its name unknown (``tests/compat/config.md`` §9)."""

    id: str
    pins: Mapping[str, str | None]
    description: str = ""


@dataclass(frozen=True, slots=True)
class Selector:
    """One entry of ``selectors``; ``strategy``: warm, pin or spillover (``tests/compat/config.md`` §10)."""

    id: str
    strategy: str
    targets: tuple[str, ...]
    spillover: int = 1
    name: str = ""
    description: str = ""
    unlisted: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """One entry of ``groups`` (``tests/compat/config.md`` §11.2)."""

    id: str
    swap: bool = True
    exclusive: bool = True
    persistent: bool = False
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Routing:
    """Which policy and which eviction rule decide, and with which settings (``tests/compat/config.md`` §11).

    Settings are plain values (numbers, text, lists, mappings), as the parts' own ``parse`` takes them; those of
    ``group``, ``matrix`` and ``memory`` are read and checked here as far as the file alone can tell. A path says
    where in the file settings stand.
    """

    policy: str = "fifo"
    policy_settings: Mapping[str, Any] = field(default_factory=dict)
    eviction: str = "group"
    eviction_settings: Mapping[str, Any] = field(default_factory=dict)
    eviction_path: str = "routing.router.settings.groups"

    @property
    def policy_path(self) -> str:
        """Where the settings of the policy stand."""
        return f"routing.scheduler.settings.{self.policy}"


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The top-level ``gateway`` section."""

    body_limit: int = 64 * 1024 * 1024
    keep_alive_after: float = 15.0
    client_stall_timeout: float = 60.0
    idle_timeout: float = 75.0
    head_timeout: float = 30.0
    body_timeout: float = 60.0
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks."""


SESSION_HEADERS = ("X-Session-ID", "X-Litellm-Session-Id")
IGNORED_PATHS = (r"\.(js|json|css|png|gif|jpg|jpeg|ico|txt)$",)


@dataclass(frozen=True, slots=True)
class Performance:
    """Measurements of the machine. ``every``: seconds."""

    disabled: bool = False
    every: float = 5.0


@dataclass(frozen=True, slots=True)
class Later:
    """Top-level settings that are read, checked and kept, and that nothing uses in this version."""

    preload: tuple[str, ...] = ()
    """Ids of models, in the order of the file."""
    ignore_paths: tuple[str, ...] = IGNORED_PATHS
    session_headers: tuple[str, ...] = SESSION_HEADERS
    store_path: str | None = None
    """None: in memory."""
    performance: Performance = Performance()
    log_requests: bool = False
    log_time_format: str = ""
    log_to_stdout: str = "proxy"
    metrics_max_in_memory: int = 1000
    capture_buffer: int = 5
    """MiB; 0: no captures."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What top-level keys say for all models. Seconds."""

    ttl: float = 0.0
    unload_timeout: float = 10.0
    health_check_timeout: float = 120.0
    send_loading_state: bool = False
    start_port: int = 5800


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole configuration."""

    models: Mapping[str, ModelSettings] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()
    """In file order; the default group is not among them."""
    routing: Routing = Routing()
    ports: Mapping[str, int] = field(default_factory=dict)
    """What ``${PORT}`` stands for, by model."""
    peers: Mapping[str, Peer] = field(default_factory=dict)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    selectors: Mapping[str, Selector] = field(default_factory=dict)
    defaults: Defaults = Defaults()
    include_aliases_in_list: bool = False
    later: Later = Later()
    reload_drain_timeout: float = 300.0
    log_level: str = "info"
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    gateway: GatewaySettings = GatewaySettings()
