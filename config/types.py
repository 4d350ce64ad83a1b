"""Frozen values: what the rest of the program sees of a configuration file.

Built by ``config/resolve.py`` from ``config/load.py``'s tree; nobody else constructs them but tests.
Times are seconds, sizes bytes. Mapping order is file order, and ties are broken by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
    concurrency_limit: int | None = None
    """None: the built-in 10."""
    queue_limit: int | None = None
    """None: 512 if ``concurrency_limit`` is unset, else 0 (design.md section 8)."""
    queue_timeout: float = 1800.0
    unload_timeout: float = 10.0
    health_check_timeout: float = 120.0
    memory: Mapping[str, int] = field(default_factory=dict)
    """Bytes on each device; for ``use: memory``."""
    pinned: bool = False
    """Never evicted; for ``use: memory``."""
    evict_cost: int = 1


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


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole configuration."""

    models: Mapping[str, ModelSettings] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()
    """In file order; the default group is not among them."""
    routing: Routing = Routing()
    ports: Mapping[str, int] = field(default_factory=dict)
    """What ``${PORT}`` stands for, by model."""
    reload_drain_timeout: float = 300.0
    log_level: str = "info"
    api_keys: tuple[str, ...] = ()
    gateway: GatewaySettings = GatewaySettings()
