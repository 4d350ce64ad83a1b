"""Changes to a request's body before it goes upstream; none unless the model's configuration asks for one.

Members that are not touched stay byte for byte: containers are taken apart only on the way to a member that is.
Order and meaning follow ``tests/compat/config.md`` §6.2. Called by ``relay.py``.
"""

from functools import partial

import msgspec
from msgspec import Raw

from protocol.catalogue import BodyFilters, CatalogueModel, Member

_object = msgspec.json.Decoder(dict[str, Raw]).decode
_array = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.encode
_NULL = Raw(b"null")
_NO_FILTERS = BodyFilters()
LONGEST_INDEX = 3
"""Digits of an array index; a longer number is the name of a member."""


def apply(body: bytes, model: CatalogueModel, asked: str) -> bytes:
    """The body as the model server gets it. ``asked``: the name that the client used; the body is a JSON object."""
    if not model.use_model_name and model.filters is None:
        return body
    members = _object(body)
    if model.use_model_name:
        members["model"] = Raw(_encode(model.use_model_name))
    filters = model.filters or _NO_FILTERS
    for path in filters.strip:
        _strip(members, path)
    for path, value in (*filters.assign, *filters.assign_by_name.get(asked, ())):
        _assign(members, path, Raw(value))
    return _encode(members)


def _strip(members: dict[str, Raw] | list[Raw], path: Member) -> None:
    """Take a member out, if it is there."""
    first, *rest = path
    key = _key(members, first)
    if key is None:
        return
    if not rest:
        del members[key]  # type: ignore[arg-type]  # an index for a list, a name for a dict
        return
    inner = _opened(members[key])  # type: ignore[index]
    if inner is not None:
        _strip(inner, tuple(rest))
        members[key] = Raw(_encode(inner))  # type: ignore[index]


def _key(members: dict[str, Raw] | list[Raw], name: str) -> str | int | None:
    """What finds the member in its container; None if it is not there."""
    if isinstance(members, dict):
        return name if name in members else None
    return int(name) if _is_index(name) and int(name) < len(members) else None


def _assign(members: dict[str, Raw] | list[Raw], path: Member, value: Raw) -> None:
    """Set a member; containers on the way to it are made where there are none."""
    first, *rest = path
    if isinstance(members, dict):
        old, put = members.get(first, _NULL), partial(members.__setitem__, first)
    elif _is_index(first):
        members.extend([_NULL] * (int(first) + 1 - len(members)))
        old, put = members[int(first)], partial(members.__setitem__, int(first))
    else:
        return
    if rest:
        inner = _opened(old)
        if inner is None:
            inner = [] if _is_index(rest[0]) else {}
        _assign(inner, tuple(rest), value)
        value = Raw(_encode(inner))
    put(value)


def _opened(value: Raw) -> dict[str, Raw] | list[Raw] | None:
    """The members of a container; None if it is none."""
    match bytes(value).lstrip()[:1]:
        case b"{":
            return _object(value)
        case b"[":
            return _array(value)
    return None


def _is_index(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) <= LONGEST_INDEX
