"""Stories of the simulated world, one test each."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import virtual_loop
from world_stories import STORIES


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
def test_story(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    virtual_loop.run(story())
