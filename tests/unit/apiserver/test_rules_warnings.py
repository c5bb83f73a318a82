"""What a client is warned of who makes an object that is accepted."""

from typing import Any

import orjson
import pytest
from registry_world import ADMIN, World, in_world
from strategy_cases import kind_of

from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.verbs import Context
from wherry.client.api import PatchType

Object = dict[str, Any]
LABELS = {"app": "x"}
POD = {"containers": [{"name": "c", "image": "i:1"}]}
OWNED = {
    "selector": {"matchLabels": LABELS},
    "template": {"metadata": {"labels": LABELS}, "spec": POD},
}
TASK = {"template": {"spec": POD | {"restartPolicy": "Never"}}}
MUCH = {"completionMode": "Indexed", "completions": 100_001, "parallelism": 10_001}
BACKEND = {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}
CLASS = {"kubernetes.io/ingress.class": "nginx"}
HOST_NAME = (
    "metadata.name: this is used in Pod names and hostnames, which can result in surprising "
    "behavior; a DNS label is recommended: [must not contain dots]"
)
REVISIONS = (
    "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is "
    "recommended"
)
TOO_MUCH = (
    "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than "
    "10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
)
OLD_CLASS = (
    "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' "
    "instead"
)
D, STS, JOB, CRON, ING = (
    "apps/v1/Deployment",
    "apps/v1/StatefulSet",
    "batch/v1/Job",
    "batch/v1/CronJob",
    "networking.k8s.io/v1/Ingress",
)


def row(address: str) -> Any:
    wanted = kind_of(address)
    return next(r for k, r in BY_KIND.items() if (k.group, k.kind) == (wanted.group, wanted.kind))


@pytest.mark.parametrize(
    ("address", "meta", "spec", "expected"),
    [
        (D, {"name": "web"}, OWNED, []),
        (D, {"name": "web-v1.1"}, OWNED, [HOST_NAME]),
        ("apps/v1/ReplicaSet", {"name": "a.b"}, OWNED, [HOST_NAME]),
        ("apps/v1/DaemonSet", {"name": "a.b"}, OWNED, [HOST_NAME]),
        (D, {"generateName": "a.b-"}, OWNED, []),
        (STS, {"name": "web"}, OWNED | {"revisionHistoryLimit": -1}, [REVISIONS]),
        (STS, {"name": "web"}, OWNED | {"revisionHistoryLimit": 0}, []),
        (JOB, {"name": "a.b"}, TASK, [HOST_NAME]),
        (JOB, {"name": "a"}, TASK | MUCH, [TOO_MUCH]),
        (JOB, {"name": "a"}, TASK | MUCH | {"parallelism": 10_000}, []),
        (CRON, {"name": "a.b"}, {"schedule": "@daily", "jobTemplate": {"spec": TASK | MUCH}},
         [HOST_NAME, TOO_MUCH]),
        (ING, {"name": "a", "annotations": CLASS}, BACKEND, [OLD_CLASS]),
        (ING, {"name": "a", "annotations": CLASS}, BACKEND | {"ingressClassName": "nginx"}, []),
    ],
)  # fmt: skip
def test_warnings(address: str, meta: Object, spec: Object, expected: list[str]) -> None:
    async def run(w: World) -> None:
        ctx = Context(ADMIN)
        body = orjson.loads(orjson.dumps({"metadata": meta, "spec": spec}))
        await w.registry.create(ctx, row(address), "default", body)
        assert ctx.warnings == expected

    in_world(run)


def test_who_changes_an_object_is_not_told_its_name() -> None:
    async def run(w: World) -> None:
        body = orjson.loads(orjson.dumps({"metadata": {"name": "a.b"}, "spec": OWNED}))
        await w.registry.create(Context(ADMIN), row(D), "default", body)
        ctx = Context(ADMIN)
        patch = {"spec": {"replicas": 3}}
        await w.registry.patch(ctx, row(D), "default", "a.b", patch, PatchType.MERGE)
        assert ctx.warnings == []

    in_world(run)
