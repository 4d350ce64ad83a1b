"""From a configuration to what each part of the program needs of it: catalogue, launch data, names.

The only file of the supervisor that knows both ``config`` and the wire's types; what the scheduler decides by is
made in ``scheduler/configured.py``. Called by ``app.py`` when a configuration is taken over.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import msgspec

from config.names import Names
from config.types import Capabilities, Filters, GatewaySettings, ModelSettings, Settings
from protocol.catalogue import Assignments, BodyFilters, Catalogue, CatalogueModel, Limits, Member
from protocol.catalogue import Capabilities as WireCapabilities
from protocol.ids import ModelId
from supervisor.process.model import LaunchSpec


def catalogue_of(settings: Settings, revision: int, log_level: str | None = None) -> Catalogue:
    """What the workers answer from. API keys travel as digests only. ``log_level``: goes before the file's."""
    return Catalogue(
        revision=revision,
        models=tuple(_catalogue_model(model) for model in settings.models.values()),
        aliases_in_list=settings.include_aliases_in_list,
        not_built=not_built(settings),
        key_digests=tuple(hashlib.sha256(key.encode()).digest() for key in settings.api_keys),
        trusted_proxies=settings.gateway.trusted_proxies,
        limits=_limits(settings.gateway),
        log_level=log_level or settings.log_level,
    )


def _limits(gateway: GatewaySettings) -> Limits:
    return Limits(
        json_body=gateway.body_limit,
        keep_alive_after=gateway.keep_alive_after,
        idle=gateway.idle_timeout,
        head=gateway.head_timeout,
        body=gateway.body_timeout,
    )


def _catalogue_model(model: ModelSettings) -> CatalogueModel:
    can = model.capabilities
    return CatalogueModel(
        id=ModelId(model.id),
        aliases=model.aliases,
        name=model.name,
        description=model.description,
        unlisted=model.unlisted,
        use_model_name=model.use_model_name,
        filters=_body_filters(model.filters),
        connect=model.timeouts.connect,
        first_byte=model.timeouts.response_header,
        capabilities=None if can == Capabilities() else WireCapabilities(**asdict(can)),
        metadata=msgspec.json.encode(model.metadata),
    )


def _body_filters(filters: Filters) -> BodyFilters | None:
    if filters == Filters():
        return None
    return BodyFilters(
        strip=tuple(member_of(path) for path in filters.strip_params),
        assign=_assignments(filters.set_params),
        assign_by_name={name: _assignments(params) for name, params in filters.set_params_by_id.items()},
    )


def _assignments(params: Mapping[str, Any]) -> Assignments:
    return tuple((member_of(path), msgspec.json.encode(value)) for path, value in params.items())


def member_of(path: str) -> Member:
    """The keys of a dotted path; a backslash before a dot makes it an ordinary character."""
    return tuple(part.replace("\0", ".") for part in path.replace("\\.", "\0").split("."))


def not_built(settings: Settings) -> dict[str, str]:
    """Names that only a later version serves, with the keys that declare them. Names of models go first."""
    names = Names(settings.models, settings.peers, settings.selectors)
    found = {name: f"peers.{peer}" for name, peer in names.of_peers().items()}
    return found | {name: f"selectors.{name}" for name in settings.selectors}


def launch_spec(model: ModelSettings, generation: int) -> LaunchSpec:
    """What it takes to start one generation of a model."""
    return LaunchSpec(
        model=ModelId(model.id),
        generation=generation,
        argv=model.cmd,
        env=model.env,
        cmd_stop=model.cmd_stop,
        upstream=model.proxy,
        check_endpoint=model.check_endpoint,
        start_timeout=model.health_check_timeout,
        stop_grace=model.unload_timeout,
    )


def names_of(settings: Settings) -> dict[str, ModelId]:
    """Every name a client may use, and its model; an id wins over an equal alias."""
    names = {alias: ModelId(model.id) for model in settings.models.values() for alias in model.aliases}
    return names | {name: ModelId(name) for name in settings.models}
