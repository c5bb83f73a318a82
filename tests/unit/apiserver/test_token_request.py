"""Asking for a ServiceAccount's token, and asking whose a token is."""

from typing import Any

import jwt
import orjson
import pytest
from registry_world import World, in_world

from wherry.api import kinds
from wherry.api.errors import StatusError, UnauthorizedError
from wherry.apiserver.authn import Authenticator, read_token_file
from wherry.apiserver.registry import RegistryConfig
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.tokens import DEFAULT_ISSUER, EXTENDED_S, TokenConfig
from wherry.apiserver.verbs import Context, User
from wherry.pki.certificates import create_signing_key

Object = dict[str, Any]
TOKENS = TokenConfig(signing_key=create_signing_key())
CONFIG = RegistryConfig(tokens=TOKENS)
BOB = User("bob")
NODE = User("system:node:n1", ("system:nodes",))
INVALID = 'TokenRequest.authentication.k8s.io "{}" is invalid: {}: Invalid value: {}: {}'


async def ask(w: World, body: Object, user: User = BOB, name: str = "robot") -> Object:
    row = BY_KIND[kinds.SERVICE_ACCOUNT]
    done = await w.registry.create(Context(user), row, "default", body, name, "token")
    answer: Object = orjson.loads(done.object)
    return answer


async def refusal(w: World, body: Object, user: User = BOB) -> StatusError:
    with pytest.raises(StatusError) as refused:
        await ask(w, body, user)
    return refused.value


def claims_of(answer: Object) -> Object:
    claims: Object = jwt.decode(answer["status"]["token"], options={"verify_signature": False})
    return claims


async def pod_of_robot(w: World, node: str = "", name: str = "p") -> Object:
    if not await w.registry.find(BY_KIND[kinds.SERVICE_ACCOUNT], "default", "robot"):
        await w.create(kinds.SERVICE_ACCOUNT, "default", name="robot")
    spec: Object = {"containers": [{"name": "c", "image": "i"}], "serviceAccountName": "robot"}
    if node:
        spec["nodeName"] = node
    pod = await w.create(kinds.POD, "default", name=name, spec=spec)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": name,
        "uid": pod["metadata"]["uid"],
    }


def test_an_answer_says_what_was_given() -> None:
    async def run(w: World) -> None:
        await w.create(kinds.SERVICE_ACCOUNT, "default", name="robot")
        answer = await ask(w, {"metadata": {"creationTimestamp": None}, "spec": {}})
        assert (answer["kind"], answer["apiVersion"]) == (
            "TokenRequest",
            "authentication.k8s.io/v1",
        )
        assert answer["metadata"]["name"] == "robot"
        assert answer["spec"] == {"audiences": [DEFAULT_ISSUER], "expirationSeconds": 3600}
        claims = claims_of(answer)
        assert claims["exp"] - claims["iat"] == 3600
        assert claims["kubernetes.io"].keys() == {"namespace", "serviceaccount"}
        # There is no longest time but what fits: upstream's --service-account-max-token-expiration is 0.
        ten_years = 10 * 365 * 86_400
        claims = claims_of(await ask(w, {"spec": {"expirationSeconds": ten_years}}))
        assert claims["exp"] - claims["iat"] == ten_years

    in_world(run, config=CONFIG)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (
            {"spec": {"expirationSeconds": 599}},
            422,
            INVALID.format(
                "",
                "spec.expirationSeconds",
                599,
                "may not specify a duration less than 10 minutes",
            ),
        ),
        (
            {"spec": {"expirationSeconds": (1 << 32) + 1}},
            422,
            INVALID.format(
                "",
                "spec.expirationSeconds",
                (1 << 32) + 1,
                "may not specify a duration larger than 2^32 seconds",
            ),
        ),
        (
            {"metadata": {"name": "other"}},
            422,
            INVALID.format(
                "robot",
                "metadata.name",
                '"other"',
                "must match the service account name if specified",
            ),
        ),
        (
            {"metadata": {"namespace": "other"}},
            422,
            INVALID.format(
                "robot",
                "metadata.namespace",
                '"other"',
                "must match the service account namespace if specified",
            ),
        ),
        (
            {"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "ConfigMap", "name": "c"}}},
            400,
            "cannot bind token to object of type /v1, Kind=ConfigMap",
        ),
        (
            {"spec": {"boundObjectRef": {"apiVersion": "apps/v1", "kind": "Pod", "name": "c"}}},
            400,
            "cannot bind token to object of type apps/v1, Kind=Pod",
        ),
        (
            {"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": "s"}}},
            404,
            'secrets "s" not found',
        ),
        (
            {"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "other"}}},
            400,
            'cannot bind token for serviceaccount "robot" to pod running with different '
            "serviceaccount name.",
        ),
        (
            {"spec": {"boundObjectRef": {"kind": "Pod", "name": "p", "uid": "1"}}},
            409,
            'Operation cannot be fulfilled on Pod "p": the UID in the bound object reference (1) does '
            "not match the UID in record. The object might have been deleted and then recreated",
        ),
        (
            {"spec": {"expirationSeconds": "long"}},
            400,
            'TokenRequest in version "v1" cannot be handled as a TokenRequest: json: cannot unmarshal '
            "string into Go struct field TokenRequestSpec.spec.expirationSeconds of type int64",
        ),
    ],
)
def test_what_cannot_be_asked_for(body: Object, code: int, message: str) -> None:
    async def run(w: World) -> None:
        await pod_of_robot(w)
        other = {"containers": [{"name": "c", "image": "i"}]}
        await w.create(kinds.POD, "default", name="other", spec=other)
        error = await refusal(w, body)
        assert (error.code, error.message) == (code, message)

    in_world(run, config=CONFIG)


def test_a_pods_token_names_its_node_and_outlives_a_program_that_reads_it_once() -> None:
    async def run(w: World) -> None:
        node = await w.create(kinds.NODE, name="n1")
        ref = await pod_of_robot(w, "n1")
        answer = await ask(w, {"spec": {"boundObjectRef": ref, "expirationSeconds": 3607}})
        claims = claims_of(answer)
        about = claims["kubernetes.io"]
        assert about["pod"] == {"name": "p", "uid": ref["uid"]}
        assert about["node"] == {"name": "n1", "uid": node["metadata"]["uid"]}
        assert claims["exp"] - claims["iat"] == EXTENDED_S
        assert about["warnafter"] - claims["iat"] == 3607
        assert answer["spec"]["expirationSeconds"] == 3607
        user = await who(w).authenticate(None, answer["status"]["token"])
        assert user.extra == {
            "authentication.kubernetes.io/credential-id": [f"JTI={claims['jti']}"],
            "authentication.kubernetes.io/node-name": ["n1"],
            "authentication.kubernetes.io/node-uid": [node["metadata"]["uid"]],
            "authentication.kubernetes.io/pod-name": ["p"],
            "authentication.kubernetes.io/pod-uid": [ref["uid"]],
        }
        # What TokenReview says of a token is what SelfSubjectReview tells its bearer.
        assert (await who(w).review(answer["status"]["token"], []))[0] == user
        for other in ({"expirationSeconds": 3606}, {"expirationSeconds": 3607, "audiences": ["x"]}):
            claims = claims_of(await ask(w, {"spec": {"boundObjectRef": ref, **other}}))
            assert claims["exp"] - claims["iat"] == other["expirationSeconds"]
            assert "warnafter" not in claims["kubernetes.io"]
        lost = await pod_of_robot(w, "gone", "q")
        claims = claims_of(await ask(w, {"spec": {"boundObjectRef": lost}}))
        assert claims["kubernetes.io"]["node"] == {"name": "gone"}

    in_world(run, config=CONFIG)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"kind": "Secret"}, "node requested token not bound to a pod"),
        ({"name": ""}, "node requested token not bound to a pod"),
        ({"uid": ""}, "node requested token with a pod binding without a uid"),
        (
            {"uid": "1"},
            "the UID in the bound object reference (1) does not match the UID in record. The object "
            "might have been deleted and then recreated",
        ),
        (
            {"name": "elsewhere"},
            "node requested token bound to a pod scheduled on a different node",
        ),
    ],
)
def test_an_agent_gets_tokens_of_its_pods_only(change: Object, why: str) -> None:
    async def run(w: World) -> None:
        ref = await pod_of_robot(w, "n1")
        elsewhere = await pod_of_robot(w, "n2", "elsewhere")
        if change.get("name") == "elsewhere":
            ref = elsewhere
        body = {"spec": {"boundObjectRef": {**ref, **change}}}
        if not why:
            assert (await ask(w, body, NODE))["status"]["token"]
            return
        error = await refusal(w, body, NODE)
        assert error.message == f'serviceaccounts "robot" is forbidden: {why}'
        assert (await refusal(w, {"spec": {}}, NODE)).code == 403

    in_world(run, config=CONFIG)


def who(w: World) -> Authenticator:
    static = read_token_file("secret,jane,u1,dev\n")
    return Authenticator(w.registry, clock=w.clock, tokens=TOKENS, static=static)


def test_a_review_says_whose_a_token_is_and_for_whom() -> None:
    async def run(w: World) -> None:
        await w.create(kinds.SERVICE_ACCOUNT, "default", name="robot")
        answer = await ask(w, {"spec": {"audiences": ["vault", DEFAULT_ISSUER]}})
        token = answer["status"]["token"]
        user, audiences = await who(w).review(token, [])
        assert user.name == "system:serviceaccount:default:robot"
        assert audiences == (DEFAULT_ISSUER,)
        assert (await who(w).review(token, ["a", "vault"]))[1] == ("vault",)
        with pytest.raises(UnauthorizedError) as refused:
            await who(w).review(token, ["a", "b"])
        assert refused.value.message == (
            f'[invalid bearer token, token audiences ["vault" "{DEFAULT_ISSUER}"] is invalid for the '
            'target audiences ["a" "b"]]'
        )
        only = (await ask(w, {"spec": {"audiences": ["vault"]}}))["status"]["token"]
        with pytest.raises(UnauthorizedError, match="invalid for the target audiences"):
            await who(w).authenticate(None, only)
        assert (await who(w).review(only, ["vault"]))[1] == ("vault",)
        await w.api.delete(kinds.SERVICE_ACCOUNT, "robot", "default")
        with pytest.raises(UnauthorizedError, match="not found"):
            await who(w).review(only, ["vault"])

    in_world(run, config=CONFIG)


def test_a_review_of_a_token_that_is_only_ours() -> None:
    async def run(w: World) -> None:
        user, audiences = await who(w).review("secret", [])
        assert (user.name, audiences) == ("jane", (DEFAULT_ISSUER,))
        assert (await who(w).review("secret", ["x", DEFAULT_ISSUER]))[1] == (DEFAULT_ISSUER,)
        for token, wanted in (("secret", ["x"]), ("secre", [])):
            with pytest.raises(UnauthorizedError, match=r"^invalid bearer token$"):
                await who(w).review(token, wanted)

    in_world(run)
