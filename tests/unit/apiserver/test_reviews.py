"""Reviews: what is wrong with a question, in upstream's words, and whose a token is."""

import asyncio
from typing import Any

import pytest
from open_gate import OpenGate
from virtual_loop import VirtualClock

from wherry.api.errors import BadRequestError, InvalidError
from wherry.apiserver.reviews import Reviews
from wherry.apiserver.verbs import User

Object = dict[str, Any]
ABOUT = {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "a"}}
PATH = {"nonResourceAttributes": {"verb": "get", "path": "/x"}}
NO_USER = 'spec.user: Invalid value: "": at least one of user or group must be specified'


def ask(kind: str, spec: Object, namespace: str = "") -> Object:
    async def main() -> Object:
        gate = OpenGate()
        gate.tokens["t"] = User("eve", ("dev",), "7")
        reviews = Reviews(gate, VirtualClock())
        return await reviews.answer(kind, {"spec": spec} if spec else {}, User("bob"), namespace)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "spec", "said"),
    [
        (
            "SelfSubjectAccessReview",
            {},
            'spec.resourceAttributes: Invalid value: "null": exactly one of nonResourceAttributes or '
            "resourceAttributes must be specified",
        ),
        (
            "SelfSubjectAccessReview",
            ABOUT | PATH,
            'spec.nonResourceAttributes: Invalid value: {"verb":"get","path":"/x"}: cannot be '
            "specified in combination with resourceAttributes",
        ),
        ("SubjectAccessReview", ABOUT, NO_USER),
        (
            "LocalSubjectAccessReview",
            ABOUT | {"user": "eve"},
            'spec.resourceAttributes.namespace: Invalid value: "a": must match metadata.namespace',
        ),
        (
            "LocalSubjectAccessReview",
            PATH,
            f'[{NO_USER}, spec.nonResourceAttributes: Invalid value: {{"verb":"get","path":"/x"}}: '
            "disallowed on this kind of request]",
        ),
    ],
)
def test_what_a_question_lacks(kind: str, spec: Object, said: str) -> None:
    with pytest.raises(InvalidError) as refused:
        ask(kind, spec, "b")
    assert refused.value.message == f'{kind}.authorization.k8s.io "" is invalid: {said}'
    assert {cause.reason for cause in refused.value.causes} == {"FieldValueInvalid"}


def test_somebody_may() -> None:
    asked = ABOUT | {"user": "eve", "groups": ["dev"]}
    for kind, namespace in (("SubjectAccessReview", ""), ("LocalSubjectAccessReview", "a")):
        assert ask(kind, asked, namespace)["status"] == {"allowed": True}


def test_what_asked_without_a_spec_has_one_in_the_answer() -> None:
    """Its type requires one; rules reviews need nothing in it."""
    assert ask("SelfSubjectRulesReview", {})["spec"] == {}


def test_whose_a_token_is() -> None:
    eve = {"username": "eve", "groups": ["dev"], "uid": "7"}
    assert ask("TokenReview", {"token": "t"})["status"] == {"authenticated": True, "user": eve}
    told = ask("TokenReview", {"token": "t", "audiences": ["vault"]})["status"]
    assert told == {"authenticated": True, "user": eve, "audiences": ["vault"]}
    assert ask("TokenReview", {"token": "x"})["status"] == {
        "authenticated": False,
        "error": "Unauthorized",
        "user": {},
    }
    with pytest.raises(BadRequestError, match="token is required for TokenReview"):
        ask("TokenReview", {})
