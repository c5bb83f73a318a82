"""Bodies whose metadata or parts are no objects: 400 before anything is looked up, never a crash.

Found by schemathesis, which sends `metadata: [null, null]` to everything that takes a body.
"""

from typing import Any

import orjson
import pytest
from registry_world import ADMIN, World, in_world

from wherry.api import kinds
from wherry.api.errors import BadRequestError, NotFoundError
from wherry.api.kinds import Kind
from wherry.apiserver.resources import BY_KIND, SERVED
from wherry.apiserver.verbs import Context
from wherry.apiserver.versions.versions import Versions

WEB = {
    "metadata": {"name": "there"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        },
    },
}
WRONG: list[dict[str, Any]] = [{"metadata": []}, {"metadata": "x"}, {"metadata": {"name": {}}}]
"""Of every kind; the next ones of a Scale."""
WRONG_SCALES: list[dict[str, Any]] = [*WRONG, {"spec": [1]}, {"spec": {"replicas": "3"}}]
WRONG_KIND: dict[str, Any] = {"apiVersion": "v1", "kind": "Deployment"}


@pytest.mark.parametrize("name", ["there", "missing"])
@pytest.mark.parametrize(
    ("kind", "subresource", "bodies"),
    [
        (kinds.CONFIG_MAP, "", WRONG),
        (kinds.LEASE, "", WRONG),
        (kinds.DEPLOYMENT, "", WRONG),
        (kinds.DEPLOYMENT, "status", WRONG),
        (kinds.DEPLOYMENT, "scale", [*WRONG_SCALES, WRONG_KIND]),
    ],
)
def test_a_put_is_refused_whether_its_object_is_there_or_not(
    kind: Kind, subresource: str, bodies: list[dict[str, Any]], name: str
) -> None:
    async def run(w: World) -> None:
        if kind == kinds.DEPLOYMENT:
            await w.api.create(kind, orjson.dumps(WEB), "default")
        else:
            await w.create(kind, "default", name="there")
        for body in bodies:
            with pytest.raises(BadRequestError):
                await w.registry.update(
                    Context(ADMIN), BY_KIND[kind], "default", name, body, subresource
                )

    in_world(run)


def test_a_good_put_of_what_is_missing_is_still_not_found() -> None:
    async def run(w: World) -> None:
        for subresource in ("", "status", "scale"):
            body = {"spec": {"replicas": 1}} if subresource == "scale" else WEB
            with pytest.raises(NotFoundError):
                await w.registry.update(
                    Context(ADMIN),
                    BY_KIND[kinds.DEPLOYMENT],
                    "default",
                    "missing",
                    body,
                    subresource,
                )

    in_world(run)


@pytest.mark.parametrize("body", WRONG)
def test_a_binding_is_refused(body: dict[str, Any]) -> None:
    async def run(w: World) -> None:
        row = next(row for row in SERVED if row.kind == kinds.BINDING)
        with pytest.raises(BadRequestError):
            await Versions(w.registry, clock=w.clock).create(Context(ADMIN), row, "default", body)

    in_world(run)
