"""For tests of what has to be the same on the lane and on hypercorn's way behind it."""

from collections.abc import Iterator

import pytest

from tests.support.lane import ALL_TO_HYPERCORN, TLS


@pytest.fixture(params=["lane", "hypercorn"])
def both_ways(request: pytest.FixtureRequest) -> Iterator[str]:
    """Once with inference requests on the lane, once with all of them at hypercorn; which of the two."""
    ALL_TO_HYPERCORN.set(request.param == "hypercorn")
    yield request.param
    ALL_TO_HYPERCORN.set(False)


@pytest.fixture(params=["plain", "tls"])
def plain_and_tls(request: pytest.FixtureRequest) -> Iterator[None]:
    """Over plain connections, and over those with TLS."""
    TLS.set(request.param == "tls")
    yield
    TLS.set(False)


@pytest.fixture(params=["lane", "hypercorn", "tls"])
def all_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """On the lane, with everything at hypercorn, and on the lane over TLS."""
    ALL_TO_HYPERCORN.set(request.param == "hypercorn")
    TLS.set(request.param == "tls")
    yield
    ALL_TO_HYPERCORN.set(False)
    TLS.set(False)
