"""For tests of what has to be the same on the lane and on hypercorn's way behind it."""

from collections.abc import Iterator

import pytest

from tests.support.lane import ALL_TO_HYPERCORN


@pytest.fixture(params=["lane", "hypercorn"])
def both_ways(request: pytest.FixtureRequest) -> Iterator[str]:
    """Once with inference requests on the lane, once with all of them at hypercorn; which of the two."""
    ALL_TO_HYPERCORN.set(request.param == "hypercorn")
    yield request.param
    ALL_TO_HYPERCORN.set(False)
