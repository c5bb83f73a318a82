"""The REST door over stub verbs: who is let in, what comes back, in which form."""

import asyncio
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from rest_world import MAP, NOW, POD, World, answer, content, in_world
from verbs_stub import event

from wherry.api.errors import ExpiredError
from wherry.apiserver.http.message import Peer, Reply, Request, Response, Stream
from wherry.apiserver.tokens import DEFAULT_ISSUER, TokenConfig, TokenIssuer
from wherry.client.api import EventType
from wherry.pki.certificates import create_ca, issue
from wherry.pki.subject import Subject

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def test_lists_are_envelopes_around_stored_bytes() -> None:
    async def story(world: World) -> None:
        listed = content(await world.get("/api/v1/namespaces/a/pods?limit=500"))
        assert listed == {
            "kind": "PodList",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": "1"},
            "items": [POD],
        }
        assert world.verbs.calls[-1][-1].limit == 500

    in_world(story)


def test_create_update_and_their_codes() -> None:
    async def story(world: World) -> None:
        world.verbs.warnings = ['unknown field "spec.x"']
        url = "/api/v1/namespaces/a/configmaps"
        reply = answer(await world.ask("POST", url + "?dryRun=All", {"metadata": {"name": "n"}}))
        assert reply.status == 201
        assert ("Warning", r'299 - "unknown field \"spec.x\""') in reply.headers
        ctx = world.verbs.contexts[-1]
        assert (ctx.dry_run, ctx.user.name) == (True, "bob")
        assert orjson.loads(bytes(reply.body))["kind"] == "ConfigMap"
        again = answer(await world.ask("POST", url, {"metadata": {"name": "n"}}))
        assert (again.status, content(again)["reason"]) == (409, "AlreadyExists")
        put = answer(await world.ask("PUT", url + "/n", {"metadata": {"name": "n"}}))
        assert put.status == 200

    in_world(story)


def test_bodies_that_cannot_be_read() -> None:
    async def story(world: World) -> None:
        url = "/api/v1/namespaces/a/configmaps"
        for body, kind, code in (
            (b"{", "", 400),
            (b"[]", "application/json", 400),
            (b'{"kind":"Secret","apiVersion":"v1"}', "", 400),
            (b"{}", "text/plain", 415),
            (b"a: b", "application/yaml", 201),
        ):
            world.verbs.objects.pop(("configmaps", "a", "y"), None)
            body = b"metadata: {name: y}" if code == 201 else body
            reply = answer(await world.ask("POST", url, body, content_type=kind))
            assert reply.status == code, (body, kind)
        patch = answer(await world.ask("PATCH", url + "/m", b"{}", content_type="application/json"))
        assert (patch.status, content(patch)["reason"]) == (415, "UnsupportedMediaType")

    in_world(story)


def test_delete_answers_with_what_clients_expect() -> None:
    async def story(world: World) -> None:
        pod = content(await world.ask("DELETE", "/api/v1/namespaces/a/pods/p"))
        assert pod == POD
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
        status = content(await world.ask("DELETE", "/api/v1/namespaces/a/configmaps/m", body))
        assert status["details"] == {"name": "m", "kind": "configmaps", "uid": "u2"}
        assert status["status"] == "Success"
        assert world.verbs.calls[-1][-1].propagation == "Foreground"
        wrong = answer(await world.ask("DELETE", "/api/v1/nodes/n", {"kind": "Pod"}))
        assert wrong.status == 400

    in_world(story)


def test_delete_collection() -> None:
    async def story(world: World) -> None:
        url = "/api/v1/namespaces/a/configmaps?labelSelector=a%3Db"
        listed = content(
            await world.ask("DELETE", url, {"kind": "", "apiVersion": "", "dryRun": ["All"]})
        )
        assert listed["kind"] == "ConfigMapList"
        call = next(c for c in world.verbs.calls if c[0] == "delete_collection")
        assert call[2].labels == "a=b"
        assert world.verbs.contexts[0].dry_run

    in_world(story)


async def first_lines(reply: Reply, count: int) -> list[Any]:
    assert isinstance(reply, Stream)
    raw = b""
    while raw.count(b"\n") < count:
        raw += await anext(reply.chunks)
    await reply.chunks.aclose()
    return [orjson.loads(line) for line in raw.splitlines()]


def test_a_watch_is_lines_of_json() -> None:
    async def story(world: World) -> None:
        world.verbs.events.put_nowait(
            [event(EventType.ADDED, "a", 6), event(EventType.DELETED, "a", 7)]
        )
        world.verbs.events.put_nowait(ExpiredError("too old resource version: 1 (2)"))
        reply = await world.ask("GET", "/api/v1/configmaps?watch=1&resourceVersion=5")
        added, deleted, error = await first_lines(reply, 3)
        assert (added["type"], added["object"]["metadata"]["name"]) == ("ADDED", "a")
        assert deleted["type"] == "DELETED"
        assert (error["type"], error["object"]["code"]) == ("ERROR", 410)
        assert world.verbs.watching == 0

    in_world(story)


@pytest.mark.parametrize(
    ("query", "lasts_s"), [("", 1234.5), ("&timeoutSeconds=0", 1234.5), ("&timeoutSeconds=7", 7)]
)
def test_a_watch_lasts_as_long_as_the_server_says_unless_its_client_does(
    query: str, lasts_s: float
) -> None:
    async def story(world: World) -> None:
        world.verbs.events.put_nowait(None)
        reply = await world.ask("GET", f"/api/v1/configmaps?watch=1{query}")
        assert isinstance(reply, Stream)
        assert [piece async for piece in reply.chunks] == []
        assert world.verbs.calls[-1][-1].timeout_s == lasts_s

    in_world(story)


def test_a_watched_table_tells_its_columns_once() -> None:
    async def story(world: World) -> None:
        events = [event(t, "a", 6) for t in (EventType.ADDED, EventType.MODIFIED)]
        world.verbs.events.put_nowait([*events, event(EventType.BOOKMARK, "", 9)])
        reply = await world.ask("GET", "/api/v1/configmaps?watch=1", accept=TABLE)
        first, second, bookmark = await first_lines(reply, 3)
        assert first["object"]["columnDefinitions"][0]["name"] == "Name"
        assert second["object"]["columnDefinitions"] == []
        assert second["object"]["rows"][0]["cells"][0] == "a"
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["object"]["rows"][0]["object"]["metadata"]["resourceVersion"] == "9"

    in_world(story)


def test_a_watch_that_cannot_work_is_refused_before_it_begins() -> None:
    async def story(world: World) -> None:
        for query, code in (("fieldSelector=spec.x%3D1", 400), ("sendInitialEvents=true", 422)):
            reply = answer(await world.ask("GET", f"/api/v1/configmaps?watch=1&{query}"))
            assert reply.status == code

    in_world(story)


def test_one_object_is_shown_to_who_is_nobody_if_the_policy_says_so() -> None:
    async def story(world: World) -> None:
        world.verbs.objects["configmaps", "kube-public", "cluster-info"] = MAP
        url = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
        assert answer(await world.ask("GET", url, token="")).status == 200
        world.gate.forbidden.add(("system:anonymous", "delete"))
        assert answer(await world.ask("DELETE", url, token="")).status == 403
        assert answer(await world.ask("GET", f"{url}2", token="")).status == 401
        assert answer(await world.ask("GET", url.rpartition("/")[0], token="")).status == 401
        assert answer(await world.ask("GET", url, token="wrong")).status == 401

    in_world(story)


def test_who_is_let_in() -> None:
    async def story(world: World) -> None:
        url = "/api/v1/namespaces/a/pods/p"
        assert answer(await world.ask("GET", url, token="")).status == 401
        assert answer(await world.ask("GET", url, token="wrong")).status == 401
        world.gate.forbidden.add(("bob", "get"))
        refused = content(await world.get(url))
        assert refused["message"] == (
            'pods "p" is forbidden: User "bob" cannot get resource "pods" in API group "" '
            'in the namespace "a"'
        )
        assert answer(await world.ask("GET", "/healthz", token="")).body == b"ok"
        assert answer(await world.ask("GET", "/version", token="")).status == 200
        assert answer(await world.ask("GET", "/api", token="")).status == 401
        assert world.verbs.calls == []

    in_world(story)


def test_a_certificate_is_remembered_whatever_token_comes_with_it() -> None:
    ca = create_ca("ca", now_s=NOW)
    certificate = issue(ca, Subject("jane", ()), now_s=NOW).certificate

    async def story(world: World) -> None:
        peer = Peer("", certificate)
        world.gate.forbidden |= {("jane", "get"), ("bob", "get")}
        for header in ("Bearer wrong", "", "Bearer t", "Basic YTpi"):
            sent = {"authorization": header}
            request = Request("GET", "/api/v1/nodes/n", sent, list(sent.items()), b"", peer)
            assert 'User "jane" cannot get' in content(await world.door(request))["message"]

    in_world(story)


def test_a_certificate_is_asked_about_again_when_its_time_is_over() -> None:
    ca = create_ca("ca", now_s=NOW)
    peer = Peer("", issue(ca, Subject("jane", ()), now_s=NOW).certificate)

    async def story(world: World) -> None:
        async def ask(path: str) -> Response:
            return answer(await world.door(Request("GET", path, {}, [], b"", peer)))

        world.gate.until_s = NOW
        assert (await ask("/api")).status == 200
        world.gate.expired.add("jane")
        assert (await ask("/api")).status == 200  # nobody was asked
        world.gate.until_s = NOW - 1
        world.gate.expired.clear()
        peer.cache.clear()
        for expired, status in ((False, 200), (True, 401), (True, 401), (False, 200)):
            world.gate.expired = {"jane"} if expired else set()
            for path in ("/api", "/healthz", "/version"):
                response = await ask(path)
                assert (response.status, response.close) == (status, expired)
        world.gate.expired.add("jane")
        said = content(await world.door(Request("GET", "/api", {}, [], b"", peer)))
        names = ("kind", "status", "message", "reason", "code")
        told = "Status", "Failure", "Unauthorized", "Unauthorized", 401
        assert tuple(said[name] for name in names) == told

    in_world(story)


def test_a_browser_shows_its_token_among_subprotocols() -> None:
    async def story(world: World) -> None:
        world.gate.shut = True
        sent = {
            "sec-websocket-protocol": "base64url.bearer.authorization.k8s.io.dA, v4.channel.k8s.io"
        }
        for upgrade, said in ((True, 'User "bob" cannot get'), (False, "Unauthorized")):
            request = Request("GET", "/api/v1/nodes/n", sent, [], b"", Peer(), upgrade=upgrade)
            assert said in content(await world.door(request))["message"]

    in_world(story)


def test_documents() -> None:
    async def story(world: World) -> None:
        assert content(await world.get("/version/"))["minor"] == "33"
        assert content(await world.get("/api/"))["versions"] == ["v1"]
        names = {r["name"] for r in content(await world.get("/api/v1"))["resources"]}
        assert {"pods", "pods/log", "pods/eviction"} <= names
        aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        listed = await world.get("/apis", accept=aggregated + ",application/json")
        assert content(listed)["kind"] == "APIGroupDiscoveryList"
        assert listed.content_type.startswith("application/json;g=apidiscovery")
        assert (await world.get("/apis/nosuch/v1")).status == 404
        assert (await world.get("/api/v1/nosuch")).status == 404
        unknown = await world.get("/nosuch")
        assert (unknown.status, unknown.body) == (404, b"404 page not found\n")

    in_world(story)


def test_openapi_is_kept_by_clients() -> None:
    async def story(world: World) -> None:
        root = content(await world.get("/openapi/v3"))
        url = root["paths"]["apis/apps/v1"]["serverRelativeURL"]
        document = await world.get(url)
        headers = dict(document.headers)
        assert headers["Cache-Control"] == "public, immutable"
        assert "Expires" in headers
        unchanged = await world.get(url, if_none_match=headers["ETag"])
        assert (unchanged.status, unchanged.body) == (304, b"")
        packed = await world.get(url, accept_encoding="gzip")
        assert ("Content-Encoding", "gzip") in packed.headers
        assert dict((await world.get("/openapi/v3/apis/apps/v1")).headers)["Cache-Control"] == (
            "no-cache, private"
        )
        v2 = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
        protobuf = await world.get("/openapi/v2", accept=v2)
        assert protobuf.content_type == (
            "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
        )
        assert (await world.get("/openapi/v3/apis/nosuch/v1")).status == 404

    in_world(story)


def test_readiness_says_what_is_wrong() -> None:
    async def story(world: World) -> None:
        assert (await world.get("/readyz")).body == b"ok"
        world.broken["store"] = "no quorum"
        down = await world.get("/readyz")
        assert (down.status, down.content_type) == (500, "text/plain; charset=utf-8")
        text = b"[+]ping ok\n[-]store failed: reason withheld\nreadyz check failed\n"
        assert down.body == (await world.get("/readyz?verbose")).body == text
        assert (await world.get("/livez")).body == b"ok"
        verbose = b"[+]ping ok\nhealthz check passed\n"
        assert (await world.get("/healthz?verbose")).body == verbose
        assert (await world.get("/readyz?exclude=store")).body == b"ok"
        without = await world.get("/readyz?verbose&exclude=store&exclude=moon")
        assert without.body == (
            b"[+]ping ok\n[+]store excluded: ok\nwarn: some health checks cannot be excluded: "
            b'no matches for "moon"\nreadyz check passed\n'
        )
        one = await world.get("/readyz/store")
        assert (one.status, one.body) == (500, b"internal server error: reason withheld\n")
        assert (await world.get("/readyz/ping")).body == b"ok"
        assert (await world.get("/readyz/moon")).status == 404
        assert (await world.get("/readyz/store/x")).status == 404

    in_world(story)


def test_strangers_can_verify_tokens_with_what_is_published() -> None:
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    issuer = TokenIssuer(TokenConfig(key, issuer="https://cluster.example"))

    async def story(world: World) -> None:
        found = await world.get("/.well-known/openid-configuration")
        assert ("Cache-Control", "public, max-age=3600") in found.headers
        assert content(found) == {
            "issuer": "https://cluster.example",
            "jwks_uri": "https://10.0.0.1:6443/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }
        published = await world.get("/openid/v1/jwks")
        assert published.content_type == "application/jwk-set+json"
        keys = jwt.PyJWKSet.from_dict(content(published))
        token = issuer.issue("ns", "sa", "u", now=NOW, lifetime_s=600, token_id="t")
        used = keys[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(
            token,
            used.key,
            algorithms=["ES256"],
            audience=DEFAULT_ISSUER,
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )
        assert claims["sub"] == "system:serviceaccount:ns:sa"

    async def without(world: World) -> None:
        assert (await world.get("/.well-known/openid-configuration")).status == 404
        assert (await world.get("/openid/v1/jwks")).status == 404

    asyncio.run(story(World(issuer)))
    in_world(without)


def review(kind: str, spec: Any, group: str = "authorization.k8s.io") -> tuple[str, Any]:
    return f"/apis/{group}/v1/{kind.lower()}s", {
        "kind": kind,
        "apiVersion": f"{group}/v1",
        "metadata": {"creationTimestamp": None},
        "spec": spec,
    }


def test_reviews() -> None:
    async def story(world: World) -> None:
        async def ask(kind: str, spec: Any, group: str = "authorization.k8s.io") -> Any:
            reply = answer(await world.ask("POST", *review(kind, spec, group)))
            return orjson.loads(bytes(reply.body)) if reply.status == 201 else reply.status

        about = {"resourceAttributes": {"verb": "delete", "resource": "pods", "namespace": "a"}}
        assert (await ask("SelfSubjectAccessReview", about))["status"] == {"allowed": True}
        world.gate.forbidden.add(("bob", "delete"))
        assert not (await ask("SelfSubjectAccessReview", about))["status"]["allowed"]
        path = {"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}
        assert (await ask("SelfSubjectAccessReview", path))["status"]["allowed"]
        assert await ask("SelfSubjectAccessReview", {}) == 422
        assert await ask("SelfSubjectAccessReview", about | path) == 422
        assert await ask("SubjectAccessReview", about) == 422
        assert (await ask("SubjectAccessReview", {**about, "user": "eve"}))["status"]["allowed"]
        rules = await ask("SelfSubjectRulesReview", {"namespace": "a"})
        assert rules["status"]["resourceRules"]
        who = await ask("SelfSubjectReview", {}, "authentication.k8s.io")
        assert who["status"]["userInfo"] == {"username": "bob", "groups": ["devs"]}
        assert who["metadata"]["creationTimestamp"].endswith("Z")
        for token, good in (("t", True), ("x", False)):
            told = await ask("TokenReview", {"token": token}, "authentication.k8s.io")
            assert told["status"]["authenticated"] is good
        for unreadable in ({"token": ""}, {}, {"token": 5}, {"token": "t", "audiences": "a"}):
            assert await ask("TokenReview", unreadable, "authentication.k8s.io") == 400
        url, _ = review("SelfSubjectAccessReview", about)
        assert answer(await world.ask("GET", url)).status == 405

    in_world(story)


def test_a_local_review_is_of_its_namespace() -> None:
    async def story(world: World) -> None:
        about = {"verb": "get", "resource": "pods", "namespace": "a"}
        _, asked = review("LocalSubjectAccessReview", {"user": "eve", "resourceAttributes": about})
        base = "/apis/authorization.k8s.io/v1"
        local = f"{base}/namespaces/a/localsubjectaccessreviews"
        assert content(await world.ask("POST", local, asked))["status"]["allowed"]
        elsewhere = local.replace("/a/", "/b/")
        assert answer(await world.ask("POST", elsewhere, asked)).status == 422
        assert [each.namespace for each in world.gate.asked[-1:]] == ["b"]
        for path in (f"{base}/localsubjectaccessreviews", f"{base}/namespaces/a/tokenreviews"):
            assert answer(await world.ask("POST", path, asked)).status == 404

    in_world(story)


def test_streams_need_an_upgrade() -> None:
    async def story(world: World) -> None:
        scheduled = {**POD, "spec": {**POD["spec"], "nodeName": "n"}}  # type: ignore[dict-item]
        world.verbs.objects["pods", "a", "p"] = scheduled
        url = "/api/v1/namespaces/a/pods/p/exec?command=id&stdout=1"
        refused = content(await world.get(url))
        assert (refused["code"], refused["message"]) == (400, "Upgrade request required")

    in_world(story)


def test_a_timeout_that_the_client_asked_for() -> None:
    async def story(world: World) -> None:
        world.verbs.hold.clear()
        late = content(await world.get("/api/v1/nodes/n?timeout=10ms"))
        assert (late["code"], late["reason"]) == (504, "Timeout")
        said = "Timeout: request did not complete within the allotted timeout"
        assert (late["message"], late["details"]) == (said, {})
        world.verbs.hold.set()
        for path in ("/api/v1/nodes/n", "/version", "/apis"):
            bad = content(await world.get(f"{path}?timeout=soon"))
            assert (bad["code"], bad["message"]) == (
                400,
                'invalid timeout specified in the request URL - time: invalid duration "soon"',
            )
            for none in ("", "0", "0s", "-5s", "30s"):
                assert (await world.get(f"{path}?timeout={none}")).status != 400
        watch = await world.ask("GET", "/api/v1/nodes?watch=1&timeout=soon")
        assert isinstance(watch, Stream)

    in_world(story)


@pytest.mark.parametrize("target", ["/api/v1/nodes/%ff", "/%", "//", "/api//", "/a?%zz=&&=;"])
def test_odd_targets_are_answered(target: str) -> None:
    async def story(world: World) -> None:
        assert (await world.get(target)).status in (404, 200)

    in_world(story)
