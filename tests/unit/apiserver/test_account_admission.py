"""A pod's ServiceAccount: which one, its token, its logins; and what a namespace has from the start."""

import asyncio
from typing import Any

import orjson
import pytest
from registry_world import ADMIN, World, in_world

from wherry.api import kinds
from wherry.api.errors import ForbiddenError, NotFoundError
from wherry.apiserver.account_token import MOUNT_PATH, mount_token
from wherry.apiserver.registry import RegistryConfig
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.verbs import Context, DeleteOptions
from wherry.store.kv import DeleteRange

Object = dict[str, Any]
CONTAINER = {"name": "c", "image": "nginx"}
AUTHORITY = RegistryConfig(root_ca="PEM")


def spec_of(**fields: Any) -> Object:
    return {"containers": [dict(CONTAINER)], **fields}


async def delete_account(w: World, name: str = "default") -> None:
    row = BY_KIND[kinds.SERVICE_ACCOUNT]
    await w.registry.delete(Context(ADMIN), row, "default", name, DeleteOptions())
    await asyncio.sleep(0.1)  # of virtual time: until then the watch cache may still show it


def test_a_namespace_is_born_with_its_account_and_the_authority() -> None:
    async def run(w: World) -> None:
        made = await w.create(kinds.NAMESPACE, name="shop")
        account = await w.get(kinds.SERVICE_ACCOUNT, "default", "shop")
        authority = await w.get(kinds.CONFIG_MAP, "kube-root-ca.crt", "shop")
        assert authority["data"] == {"ca.crt": "PEM"}
        revisions = {o["metadata"]["resourceVersion"] for o in (made, account, authority)}
        assert len(revisions) == 1, "all three are one transaction"
        assert len({o["metadata"]["uid"] for o in (made, account, authority)}) == 3
        pod = await w.create(kinds.POD, "shop", name="p", spec=spec_of())
        assert pod["spec"]["serviceAccountName"] == "default"

    in_world(run, config=AUTHORITY)


def test_a_dry_run_of_a_namespace_creates_nothing() -> None:
    async def run(w: World) -> None:
        row = BY_KIND[kinds.NAMESPACE]
        obj = {"metadata": {"name": "shop"}}
        await w.registry.create(Context(ADMIN, dry_run=True), row, "", obj)
        with pytest.raises(NotFoundError):
            await w.get(kinds.SERVICE_ACCOUNT, "default", "shop")

    in_world(run)


def test_what_an_earlier_namespace_left_behind_stays() -> None:
    async def run(w: World) -> None:
        await w.create(kinds.NAMESPACE, name="shop")
        left = await w.get(kinds.SERVICE_ACCOUNT, "default", "shop")
        key = BY_KIND[kinds.NAMESPACE].key("", "shop")
        await w.store.txn((), [DeleteRange(key)])  # as somebody with etcdctl does
        await w.create(kinds.NAMESPACE, name="shop")
        assert await w.get(kinds.SERVICE_ACCOUNT, "default", "shop") == left

    in_world(run)


def test_the_token_is_mounted_as_upstream_does() -> None:
    async def run(w: World) -> None:
        spec = spec_of(initContainers=[{"name": "i", "image": "busybox"}], volumes=[{"name": "v"}])
        pod = await w.create(kinds.POD, "default", name="p", spec=spec)
        spec = pod["spec"]
        name = spec["volumes"][1]["name"]
        assert name.startswith("kube-api-access-")
        assert len(name) == len("kube-api-access-") + 5
        for container in (*spec["initContainers"], *spec["containers"]):
            assert container["volumeMounts"] == [
                {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}
            ]
        namespace = {
            "path": "namespace",
            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
        }
        assert spec["volumes"][1]["projected"] == {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {
                    "configMap": {
                        "name": "kube-root-ca.crt",
                        "items": [{"key": "ca.crt", "path": "ca.crt"}],
                    }
                },
                {"downwardAPI": {"items": [namespace]}},
            ],
        }

    in_world(run)


@pytest.mark.parametrize(
    ("of_pod", "of_account", "mounted"),
    [
        (None, None, True),
        (None, False, False),
        (None, True, True),
        (False, True, False),
        (True, False, True),
    ],
)
def test_who_wants_a_token(of_pod: bool | None, of_account: bool | None, mounted: bool) -> None:
    field = "automountServiceAccountToken"

    async def run(w: World) -> None:
        said = {} if of_account is None else {field: of_account}
        await w.create(kinds.SERVICE_ACCOUNT, "default", name="robot", **said)
        asked = {} if of_pod is None else {field: of_pod}
        spec = spec_of(serviceAccountName="robot", **asked)
        pod = await w.create(kinds.POD, "default", name="p", spec=spec)
        assert ("volumes" in pod["spec"]) is mounted
        assert ("volumeMounts" in pod["spec"]["containers"][0]) is mounted

    in_world(run)


MINE = {"name": "mine", "mountPath": MOUNT_PATH}
BROUGHT = {"name": "kube-api-access-mine", "projected": {"sources": []}}


@pytest.mark.parametrize(
    ("containers", "volumes", "mounts", "names"),
    [
        # What stands at the place stays, and without need there is no volume.
        ([[MINE]], [], [["mine"]], []),
        ([[MINE], []], [], [["mine"], ["new"]], ["new"]),
        # A volume that looks like ours is used instead of a second one.
        ([[]], [BROUGHT], [["kube-api-access-mine"]], ["kube-api-access-mine"]),
        # A name alone is not enough.
        (
            [[]],
            [{"name": "kube-api-access-mine", "emptyDir": {}}],
            [["new"]],
            ["kube-api-access-mine", "new"],
        ),
    ],
)
def test_where_the_token_goes(
    containers: list[list[Object]],
    volumes: list[Object],
    mounts: list[list[str]],
    names: list[str],
) -> None:
    spec: Object = {
        "containers": [{"name": f"c{i}", "volumeMounts": m} for i, m in enumerate(containers)],
        "volumes": volumes,
    }
    for _ in range(2):  # twice is as once
        mount_token(spec, "new" if not names else names[-1])
        assert [[m["name"] for m in c["volumeMounts"]] for c in spec["containers"]] == mounts
        assert [v["name"] for v in spec["volumes"]] == names


@pytest.mark.parametrize(
    ("own", "got"), [([], ["hub"]), ([{"name": "mine"}], ["mine"])], ids=["none", "own"]
)
def test_logins_come_from_the_account_unless_the_pod_has_its_own(
    own: list[Object], got: list[str]
) -> None:
    async def run(w: World) -> None:
        logins = [{"name": "hub"}]
        await w.create(kinds.SERVICE_ACCOUNT, "default", name="robot", imagePullSecrets=logins)
        spec = spec_of(serviceAccountName="robot", imagePullSecrets=own)
        pod = await w.create(kinds.POD, "default", name="p", spec=spec)
        assert [s["name"] for s in pod["spec"]["imagePullSecrets"]] == got

    in_world(run)


def test_an_account_that_is_not_there_lets_no_pod_in() -> None:
    async def run(w: World) -> None:
        spec = spec_of(serviceAccountName="nobody")
        with pytest.raises(ForbiddenError) as refused:
            await w.create(kinds.POD, "default", name="p", spec=spec)
        assert refused.value.message == (
            'pods "p" is forbidden: error looking up service account default/nobody: '
            'serviceaccount "nobody" not found'
        )
        with pytest.raises(ForbiddenError, match='pods "web-" is forbidden: error looking up'):
            await w.create(kinds.POD, "default", metadata={"generateName": "web-"}, spec=spec)
        with pytest.raises(NotFoundError, match='namespaces "nowhere" not found'):
            await w.create(kinds.POD, "nowhere", name="p", spec={"containers": []})

    in_world(run)


def test_a_deleted_default_account_is_waited_for() -> None:
    async def run(w: World) -> None:
        await delete_account(w)

        async def controller() -> None:
            await asyncio.sleep(0.6)
            await w.create(kinds.SERVICE_ACCOUNT, "default", name="default")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(controller())
            pod = await w.create(kinds.POD, "default", name="p", spec=spec_of())
        assert pod["spec"]["serviceAccountName"] == "default"
        await delete_account(w)
        before = w.clock.now()
        with pytest.raises(ForbiddenError, match='serviceaccount "default" not found'):
            await w.create(kinds.POD, "default", name="q", spec=spec_of())
        assert 0.9 <= w.clock.now() - before <= 1.8  # of virtual time

    in_world(run)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"serviceAccountName": "default"}, "a mirror pod may not reference service accounts"),
        (
            {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
            "a mirror pod may not reference secrets",
        ),
        ({}, None),
    ],
)
def test_a_mirror_pod_is_left_as_it_is(fields: Object, why: str | None) -> None:
    async def run(w: World) -> None:
        metadata = {"name": "p", "annotations": {"kubernetes.io/config.mirror": "x"}}
        if why is None:
            pod = await w.create(
                kinds.POD, "default", metadata=metadata, spec=spec_of(nodeName="n")
            )
            assert not {"serviceAccountName", "volumes"} & pod["spec"].keys()
            return
        spec = spec_of(nodeName="n", **fields)
        with pytest.raises(ForbiddenError) as refused:
            await w.create(kinds.POD, "default", metadata=metadata, spec=spec)
        assert refused.value.message == f'pods "p" is forbidden: {why}'

    in_world(run)


def test_updates_are_left_alone() -> None:
    async def run(w: World) -> None:
        made = await w.create(kinds.POD, "default", name="p", spec=spec_of())
        await delete_account(w)
        made["metadata"]["labels"] = {"a": "b"}
        done = await w.registry.update(Context(ADMIN), BY_KIND[kinds.POD], "default", "p", made)
        assert orjson.loads(done.object)["spec"] == made["spec"]

    in_world(run)
