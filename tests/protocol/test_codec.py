"""Frames: everything round-trips, and nothing that arrives raises anything but ``PeerError``."""

from collections import Counter
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import control
from protocol import messages as wire
from protocol.codec import FrameCodec
from protocol.errors import PeerError
from protocol.ids import Refusal

NUMBERS = st.integers(0, 2**63)
SECONDS = st.floats(0, 1e9)
TEXT = st.text(max_size=20)
SEEN: Counter[str] = Counter()


def struct(kind: type, **known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any value of a wire type, by the types of its fields."""
    fields = {field.name: known.get(field.name) or of_type(field.type) for field in msgspec.structs.fields(kind)}
    return st.builds(kind, **fields)


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type."""
    simple = {str: TEXT, int: NUMBERS, float: SECONDS, bool: st.booleans(), type(None): st.none()}
    simple |= {bytes: st.binary(max_size=32), Refusal: st.sampled_from(Refusal)}
    if kind in simple:
        return simple[kind]
    if hasattr(kind, "__supertype__"):
        return TEXT
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return struct(kind)
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return st.sampled_from(parts)
    if get_origin(kind) is dict:
        return st.dictionaries(of_type(parts[0]), of_type(parts[1]), max_size=3)
    if parts and parts[-1] is Ellipsis:
        return st.lists(of_type(parts[0]), max_size=3).map(tuple)
    if get_origin(kind) is tuple:
        return st.tuples(*map(of_type, parts))
    return st.one_of([of_type(part) for part in parts])


TO_SUPERVISOR, TO_WORKER = get_args(wire.FromWorker), get_args(wire.FromSupervisor)
MESSAGES = st.one_of([struct(kind) for kind in (*TO_SUPERVISOR, *TO_WORKER)])
CODECS: dict[bool, FrameCodec[Any]] = {True: FrameCodec(wire.FromWorker), False: FrameCodec(wire.FromSupervisor)}


@settings(max_examples=600, derandomize=True, deadline=None)
@given(message=MESSAGES, number=NUMBERS, received=NUMBERS)
def check_round_trip(message: Any, number: int, received: int) -> None:
    SEEN[type(message).__name__] += 1
    codec = CODECS[isinstance(message, TO_SUPERVISOR)]
    assert codec.decode(codec.encode(number, received, message)) == (number, received, message)


def test_every_message_round_trips() -> None:
    check_round_trip()
    print(dict(SEEN))
    assert {kind.__name__ for kind in (*TO_SUPERVISOR, *TO_WORKER)} <= set(SEEN), SEEN


@pytest.mark.parametrize("kind", [*get_args(control.Verb), *get_args(control.Reply), *get_args(control.PublishedEvent)])
def test_every_control_message_round_trips(kind: type) -> None:
    union = control.Verb | control.Reply | control.PublishedEvent

    @settings(max_examples=30, derandomize=True, deadline=None)
    @given(value=struct(kind))
    def check(value: Any) -> None:
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=union) == value

    check()


def test_a_reader_of_an_older_version_ignores_what_was_added() -> None:
    newer = {"type": "Unload", "models": ["a"], "drain": True, "because": "of a later version"}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(newer), type=control.Verb) == control.Unload(
        models=("a",), drain=True
    )


@settings(max_examples=1500, derandomize=True, deadline=None)
@given(frame=st.binary(max_size=200), toward=st.booleans())
def test_random_frames_raise_only_the_peer_error(frame: bytes, toward: bool) -> None:
    try:
        CODECS[toward].decode(frame)
    except PeerError:
        SEEN["random refused"] += 1


@settings(max_examples=600, derandomize=True, deadline=None)
@given(message=MESSAGES, data=st.data())
def test_truncated_and_damaged_frames_raise_only_the_peer_error(message: Any, data: st.DataObject) -> None:
    codec = CODECS[isinstance(message, TO_SUPERVISOR)]
    whole = bytearray(codec.encode(1, 0, message))
    del whole[data.draw(st.integers(0, len(whole))) :]
    if whole:
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(0, 255))
    try:
        codec.decode(bytes(whole))
    except PeerError:
        SEEN["damaged refused"] += 1


def test_deep_nesting_is_the_peers_error() -> None:
    with pytest.raises(PeerError):
        CODECS[True].decode(bytes(16) + b"\x91" * 100_000)
