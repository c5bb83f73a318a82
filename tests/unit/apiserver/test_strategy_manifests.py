"""The manifests from which the tests of refusals begin: they are taken, and their defaults are final."""

import pytest
from strategy_cases import defaulted_again
from strategy_manifests import GOOD, created, refused


@pytest.mark.parametrize("address", GOOD)
def test_what_is_good_is_accepted(address: str) -> None:
    assert refused(address) == []
    once = created(address)
    assert defaulted_again(address, once) == once
