"""How containers without processes end."""

import pytest

from wherry.agent.hollow_life import EXIT_CODE, OOM, RUN_SECONDS, life_of, seconds
from wherry.agent.runtime import RuntimeRefusedError

LIVES: list[tuple[dict[str, str], tuple[float, int, str] | None]] = [
    ({}, None),
    ({RUN_SECONDS: "2.5"}, (2.5, 0, "Completed")),
    ({EXIT_CODE: "0"}, (0.0, 0, "Completed")),
    ({EXIT_CODE: "255", RUN_SECONDS: "1"}, (1.0, 255, "Error")),
    ({OOM: "true", RUN_SECONDS: "1", EXIT_CODE: "3"}, (1.0, 137, "OOMKilled")),
    ({OOM: "false"}, (0.0, 0, "Completed")),
]


@pytest.mark.parametrize(("annotations", "life"), LIVES)
def test_what_annotations_say(
    annotations: dict[str, str], life: tuple[float, int, str] | None
) -> None:
    assert life_of(annotations, init=False) == life
    assert life_of(annotations, init=True) == (0.0, 0, "Completed")


@pytest.mark.parametrize("code", ["", "x", "-1", "256", "1.0", "\u0663"])
def test_codes_that_are_none(code: str) -> None:
    with pytest.raises(RuntimeRefusedError, match=r"hollow-exit-code: .* is not a number from 0"):
        life_of({EXIT_CODE: code}, init=False)


@pytest.mark.parametrize("text", ["", "soon", "-1", "inf", "nan"])
def test_seconds_that_are_none(text: str) -> None:
    with pytest.raises(RuntimeRefusedError, match=f'"{text}" is not a number of seconds'):
        seconds({RUN_SECONDS: text}, RUN_SECONDS)
    with pytest.raises(RuntimeRefusedError):
        life_of({RUN_SECONDS: text}, init=False)
