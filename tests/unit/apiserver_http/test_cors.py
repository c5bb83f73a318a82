"""Which origins a browser's pages may come from, and what they are told."""

import pytest
from rest_world import TOKEN, World, answer, in_world

from wherry.api.errors import ConfigError
from wherry.apiserver.cors import Cors, parse_origins
from wherry.apiserver.http.message import Peer, Reply, Request, Stream

ORIGINS = "^https://example.com(:|$),//[a-z]+\\.test$"
ALLOW = "Access-Control-Allow-Origin"


async def ask(world: World, method: str, origin: str, target: str = "/version") -> Reply:
    sent = {"authorization": f"Bearer {TOKEN}"} | ({"origin": origin} if origin else {})
    door = Cors(world.door, parse_origins(ORIGINS))
    return await door(Request(method, target, sent, list(sent.items()), b"", Peer()))


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://example.com", True),
        ("https://example.com:8443", True),
        ("https://EXAMPLE.com", False),  # browsers write hosts in lower case
        ("http://a.test", True),
        ("", False),
        ("http://example.com", False),
        ("https://example.com.evil", False),
        ("http://a.test:80", False),
        ("null", False),
    ],
)
def test_origins(origin: str, allowed: bool) -> None:
    async def story(world: World) -> None:
        reply = answer(await ask(world, "GET", origin))
        assert reply.status == 200
        assert dict(reply.headers).get(ALLOW) == (origin if allowed else None)
        preflight = answer(await ask(world, "OPTIONS", origin))
        assert preflight.status == (204 if allowed else 405)
        assert bool(preflight.body) is not allowed

    in_world(story)


def test_refusals_and_streams_are_signed_too() -> None:
    async def story(world: World) -> None:
        origin = "https://example.com"
        refused = answer(await ask(world, "GET", origin, "/api/v1/nodes/none"))
        assert (refused.status, dict(refused.headers)[ALLOW]) == (404, origin)
        watch = await ask(world, "GET", origin, "/api/v1/nodes?watch=1")
        assert isinstance(watch, Stream)
        assert dict(watch.headers)[ALLOW] == origin

    in_world(story)


@pytest.mark.parametrize("text", ["(", "example.com", "example.com$", "^example.com", ".*"])
def test_origins_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(ConfigError, match="--cors-allowed-origins"):
        parse_origins(text)


def test_no_origins() -> None:
    assert parse_origins("") == parse_origins(",") == []
