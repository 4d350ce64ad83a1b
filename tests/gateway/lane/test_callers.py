"""Whom a request is accounted to, on the lane and on hypercorn's way: key, name from a trusted proxy, or address."""

import hashlib
import ipaddress
import logging

import pytest

from gateway.callers import caller_of, networks
from tests.gateway.lane.test_known_heads import digest, statuses, with_key
from tests.gateway.lane.test_lane import BODY, post
from tests.support.lane import lane

KEY = "sk-a-secret-that-nobody-may-see"
NAMED = "key:" + hashlib.sha256(KEY.encode()).hexdigest()[:12]


async def callers(*requests: bytes, keys: tuple[bytes, ...] = (), trusted: tuple[str, ...] = ()) -> list[str]:
    """Who asked for a lease, and is told with its outcome; no lease is kept, so each request asks."""
    async with lane(keys=keys, trusted=trusted) as it, await it.raw() as stream:
        it.link.parkable = False
        assert set(await statuses(stream, *requests)) == {200}
    assert [row.caller for row in it.link.rows] == it.link.callers
    return it.link.callers


@pytest.mark.usefixtures("both_ways")
async def test_a_key_is_named_by_its_digest_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    asking = post(BODY, f"X-Api-Key: {KEY}", "X-Swapyard-Caller: somebody else")
    found = await callers(with_key(KEY), asking, keys=(digest(KEY),), trusted=("127.0.0.1",))
    assert found == [NAMED, NAMED]
    assert KEY not in caplog.text


@pytest.mark.usefixtures("both_ways")
async def test_without_keys_a_trusted_proxy_says_who_it_is() -> None:
    asking = post(BODY, "X-Swapyard-Caller: team a", f"Authorization: Bearer {KEY}")
    assert await callers(asking, post(BODY), asking, trusted=("10.0.0.0/8", "127.0.0.0/8")) == [
        "team a",
        "127.0.0.1",
        "team a",
    ]


@pytest.mark.parametrize("trusted", [(), ("10.0.0.0/8",)])
@pytest.mark.usefixtures("both_ways")
async def test_a_stranger_cannot_say_that_he_is_somebody_else(trusted: tuple[str, ...]) -> None:
    assert await callers(post(BODY, "X-Swapyard-Caller: team a"), trusted=trusted) == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("given", "peer", "found"),
    [
        (b"x" * 100, "10.1.2.3", "x" * 64),
        (b"  team b ", "10.1.2.3", "team b"),
        (b"", "10.1.2.3", "10.1.2.3"),
        (b"a\x07b", "10.1.2.3", "10.1.2.3"),
        (b"team", "::ffff:10.1.2.3", "team"),
        (b"team", "fd00::1", "fd00::1"),
        (b"team", "", ""),
    ],
)
def test_names_are_bounded_and_printable(given: bytes, peer: str, found: str) -> None:
    trusted = networks(("10.0.0.0/8",))
    assert trusted == (ipaddress.ip_network("10.0.0.0/8"),)
    assert caller_of([(b"X-Swapyard-Caller", given)], peer, keys=False, trusted=trusted) == found
