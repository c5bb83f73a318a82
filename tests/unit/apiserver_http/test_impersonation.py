"""Acting as somebody else: who becomes whom, and what for."""

import pytest
from rest_world import World, answer, content, in_world

from wherry.api.errors import BadRequestError
from wherry.apiserver.gate import Attributes
from wherry.apiserver.impersonation import impersonation
from wherry.apiserver.verbs import User

AUTHN = "authentication.k8s.io"


def may(resource: str, name: str, *, group: str = "", sub: str = "", at: str = "") -> Attributes:
    return Attributes("impersonate", group, "v1", resource, sub, at, name)


JOE = may("users", "joe")


@pytest.mark.parametrize(
    ("headers", "user", "needed"),
    [
        ([("impersonate-user", "joe")], User("joe", ("system:authenticated",)), [JOE]),
        (
            [("impersonate-user", "joe"), ("impersonate-group", "a"), ("impersonate-group", "b")],
            User("joe", ("a", "b", "system:authenticated")),
            [JOE, may("groups", "a"), may("groups", "b")],
        ),
        (
            [("impersonate-user", "system:serviceaccount:default:robot")],
            User(
                "system:serviceaccount:default:robot",
                (
                    "system:serviceaccounts",
                    "system:serviceaccounts:default",
                    "system:authenticated",
                ),
            ),
            [may("serviceaccounts", "robot", at="default")],
        ),
        (
            [("impersonate-user", "system:serviceaccount:half")],
            User("system:serviceaccount:half", ("system:authenticated",)),
            [may("users", "system:serviceaccount:half")],
        ),
        (
            [("impersonate-user", "system:anonymous")],
            User("system:anonymous", ("system:unauthenticated",)),
            [may("users", "system:anonymous")],
        ),
        (
            [
                ("impersonate-user", "joe"),
                ("impersonate-uid", "7"),
                ("impersonate-extra-acme.com%2fteam", "red"),
            ],
            User("joe", ("system:authenticated",), "7", {"acme.com/team": ["red"]}),
            [
                JOE,
                may("userextras", "red", group=AUTHN, sub="acme.com/team"),
                may("uids", "7", group=AUTHN),
            ],
        ),
    ],
)
def test_who_becomes_whom(
    headers: list[tuple[str, str]], user: User, needed: list[Attributes]
) -> None:
    found = impersonation([("accept", "*/*"), *headers])
    assert found is not None
    assert found.user == user
    assert list(found.needed) == needed


def test_nobody_is_asked_for() -> None:
    assert impersonation([("accept", "*/*")]) is None


@pytest.mark.parametrize("name", ["impersonate-group", "impersonate-uid", "impersonate-extra-a"])
def test_groups_of_nobody(name: str) -> None:
    with pytest.raises(BadRequestError, match="without impersonating a user"):
        impersonation([(name, "x")])


@pytest.mark.parametrize("allowed", [True, False])
def test_at_the_door(allowed: bool) -> None:
    async def story(world: World) -> None:
        if not allowed:
            world.gate.forbidden.add(("bob", "impersonate"))
        review = {"apiVersion": f"{AUTHN}/v1", "kind": "SelfSubjectReview"}
        path = f"/apis/{AUTHN}/v1/selfsubjectreviews"
        reply = answer(await world.ask("POST", path, review, impersonate_user="joe"))
        told = content(reply)
        if allowed:
            assert reply.status == 201
            assert told["status"]["userInfo"]["username"] == "joe"
        else:
            assert reply.status == 403
            assert told["message"] == (
                'users "joe" is forbidden: User "bob" cannot impersonate resource "users" in API '
                'group "" at the cluster scope'
            )

    in_world(story)
