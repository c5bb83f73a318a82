"""Errors travel as Kubernetes Status and come back as what they were."""

import pytest

from wherry.api.errors import (
    Cause,
    ConflictError,
    ExpiredError,
    InternalError,
    InvalidError,
    NotFoundError,
    StatusError,
    error_from_status,
)

SHARED = [c for c in StatusError.__subclasses__() if c.__module__ == StatusError.__module__]
"""A process may have errors of its own, which nobody reads back."""


@pytest.mark.parametrize("cls", SHARED, ids=lambda c: c.__name__)
def test_round_trip(cls: type[StatusError]) -> None:
    error = cls(
        "why", name="n", kind="pods", group="g", causes=[Cause("R", "m", "f")], retry_after_s=3
    )
    back = error_from_status(error.to_status())
    assert type(back) is cls
    assert back.to_status() == error.to_status()


def test_status_has_the_shape_of_kubernetes() -> None:
    status = InvalidError(
        "bad", name="x", kind="Pod", causes=[Cause("FieldValueRequired", "m", "spec.a")]
    )
    assert status.to_status() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "bad",
        "reason": "Invalid",
        "details": {
            "name": "x",
            "kind": "Pod",
            "causes": [{"reason": "FieldValueRequired", "message": "m", "field": "spec.a"}],
        },
        "code": 422,
    }
    assert InvalidError("bad").to_status()["details"] == {}, "kubectl debug reads it unasked"


def test_details_are_there_also_when_there_are_none() -> None:
    """`kubectl debug` of 1.27 to 1.33 crashed on a 404 without them."""
    assert NotFoundError("no such path").to_status()["details"] == {}


def test_an_unknown_reason_falls_back_to_the_code() -> None:
    assert isinstance(error_from_status({"code": 410, "message": "m"}), ExpiredError)
    assert isinstance(error_from_status({"code": 418, "message": "m"}), InternalError)


def test_conflict_and_already_exists_share_a_code_but_not_a_reason() -> None:
    assert isinstance(error_from_status({"code": 409, "reason": "Conflict"}), ConflictError)
