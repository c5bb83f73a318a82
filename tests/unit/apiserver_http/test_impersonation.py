"""Acting as somebody else: who becomes whom, and what for."""

import asyncio

import orjson
import pytest
from open_gate import OpenGate
from prometheus_client import CollectorRegistry
from verbs_stub import StubVerbs

from wherry.api.errors import BadRequestError
from wherry.apiserver.discovery import get_discovery
from wherry.apiserver.gate import Attributes
from wherry.apiserver.http.message import Peer, Request, Response
from wherry.apiserver.impersonation import impersonation
from wherry.apiserver.metrics import Metrics
from wherry.apiserver.openapi import get_openapi
from wherry.apiserver.rest.documents import Documents
from wherry.apiserver.rest.door import RestDoor
from wherry.apiserver.tunnel.agent import AgentAddress, AgentConnection
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


class StoppedClock:
    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0


class NoAgents:
    async def dial(self, address: AgentAddress) -> AgentConnection:
        raise AssertionError("nobody is to be called")


@pytest.mark.parametrize("allowed", [True, False])
def test_at_the_door(allowed: bool) -> None:
    gate, clock = OpenGate(), StoppedClock()
    gate.tokens["t"] = User("bob", ("devs",))
    if not allowed:
        gate.forbidden.add(("bob", "impersonate"))
    documents = Documents(get_discovery(), get_openapi(), clock=clock, checks=dict)
    metrics = Metrics(CollectorRegistry())
    door = RestDoor(StubVerbs(), gate, documents, dialer=NoAgents(), clock=clock, metrics=metrics)
    lines = [("authorization", "Bearer t"), ("impersonate-user", "joe")]
    review = {"apiVersion": f"{AUTHN}/v1", "kind": "SelfSubjectReview"}
    path = f"/apis/{AUTHN}/v1/selfsubjectreviews"
    request = Request("POST", path, dict(lines), lines, orjson.dumps(review), Peer())
    reply = asyncio.run(door(request))
    assert isinstance(reply, Response)
    answer = orjson.loads(bytes(reply.body))
    if allowed:
        assert reply.status == 201
        assert answer["status"]["userInfo"]["username"] == "joe"
    else:
        assert reply.status == 403
        assert answer["message"] == (
            'users "joe" is forbidden: User "bob" cannot impersonate resource "users" in API '
            'group "" at the cluster scope'
        )
