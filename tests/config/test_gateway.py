"""Whose word counts for who is calling: ``gateway.trustedProxies``."""

import pytest

from config.check import load_text
from supervisor.rules import catalogue_of

MODELS = "models: {a: {cmd: 'sh ${PORT}'}}\n"


def test_addresses_and_networks_reach_the_catalogue() -> None:
    loaded = load_text(MODELS + "gateway: {trustedProxies: [10.1.2.3, 10.20.1.1/16, 'fd00::/8']}\n")
    assert loaded.settings is not None
    assert catalogue_of(loaded.settings, 1).trusted_proxies == ("10.1.2.3/32", "10.20.0.0/16", "fd00::/8")


@pytest.mark.parametrize("written", ["proxy.example.org", "10.0.0.300", "10.0.0.0/33", "*"])
def test_what_is_no_address_is_an_error(written: str) -> None:
    loaded = load_text(MODELS + f"gateway: {{trustedProxies: ['{written}']}}\n")
    assert loaded.settings is None
    (problem,) = loaded.problems
    assert problem.text == f"found '{written}', expected an address or a network, such as 10.0.0.0/8"
