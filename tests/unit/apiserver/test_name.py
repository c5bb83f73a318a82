"""What only chance can give: names and uids."""

import random
import uuid

import pytest

from wherry.apiserver.name import generate_name, new_uid


@pytest.mark.parametrize("seed", range(50))
def test_a_uid_is_a_random_uuid_in_its_usual_form(seed: int) -> None:
    expected = uuid.UUID(int=random.Random(seed).getrandbits(128), version=4)
    assert new_uid(random.Random(seed)) == str(expected)


@pytest.mark.parametrize(("base", "kept"), [("web-", "web-"), ("x" * 70, "x" * 58)])
def test_a_generated_name_is_as_long_as_a_label_may_be(base: str, kept: str) -> None:
    name = generate_name(base, random.Random(1))
    assert name[:-5] == kept
    assert len(name) <= 63
