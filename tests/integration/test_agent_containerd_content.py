"""What containers find in themselves on a real containerd: environment, volumes, limits, rights."""

import base64
from pathlib import Path
from typing import Any

import orjson
import pytest
from agent_objects import phase, ready
from containerd_world import FOREVER, Json, Play, World, container, settled, waiting

from wherry.api.kinds import CONFIG_MAP, POD, SECRET, SERVICE

pytestmark = [pytest.mark.containerd, pytest.mark.integration, pytest.mark.netns]

END = "this is the end of the log"


def test_environment(play: Play) -> None:
    async def scenario(world: World) -> None:
        secret = base64.b64encode(b"s3cret").decode()
        await world.put(CONFIG_MAP, "cm", data={"k": "from-map", "OTHER": "o"})
        await world.put(SECRET, "sec", data={"pw": secret})
        ports = [{"port": 80, "name": "http"}]
        await world.put(SERVICE, "my-svc", spec={"clusterIP": "10.96.0.7", "ports": ports})

        def source(**fields: Any) -> Json:
            return {"valueFrom": fields}

        env = [
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)-$(NONE)-$$(A)"},
            {"name": "C", **source(configMapKeyRef={"name": "cm", "key": "k"})},
            {"name": "D", **source(secretKeyRef={"name": "sec", "key": "pw"})},
            {"name": "E", **source(fieldRef={"fieldPath": "status.podIP"})},
            {"name": "F", **source(resourceFieldRef={"resource": "limits.memory"})},
            {"name": "G", **source(secretKeyRef={"name": "no", "key": "x", "optional": True})},
        ]
        name = await world.run(
            f"env; echo {END}; {FOREVER}",
            container={
                "env": env,
                "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}],
                "resources": {"limits": {"memory": "64Mi"}},
            },
        )
        pod = await world.until(name, ready)
        lines = set((await world.says(name, lambda log: END in log)).splitlines())
        assert {
            "A=1",
            "B=1-$(NONE)-$(A)",
            "C=from-map",
            "D=s3cret",
            f"E={pod['status']['podIP']}",
            f"F={64 << 20}",
            "P_OTHER=o",
            "MY_SVC_SERVICE_HOST=10.96.0.7",
            "MY_SVC_SERVICE_PORT_HTTP=80",
            "FROM_IMAGE=yes",
            f"HOSTNAME={name}",
        } <= lines

    play(scenario)


def test_a_missing_config_map_is_waited_for(play: Play) -> None:
    async def scenario(world: World) -> None:
        ref = {"configMapKeyRef": {"name": "late", "key": "k"}}
        name = await world.run(container={"env": [{"name": "X", "valueFrom": ref}]})
        pod = await world.until(name, lambda p: waiting(p) == "CreateContainerConfigError")
        assert container(pod)["state"]["waiting"]["message"] == 'configmap "late" not found'
        await world.put(CONFIG_MAP, "late", data={"k": "v"})
        await world.until(name, ready)

    play(scenario)


def test_volumes(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.put(CONFIG_MAP, "files", data={"a": "1", "b": "2"})
        await world.put(CONFIG_MAP, "kube-root-ca.crt", data={"ca.crt": "CA"})
        await world.put(SECRET, "keys", data={"key": base64.b64encode(b"K").decode()})
        volumes = [
            {"name": "cm", "configMap": {"name": "files"}},
            {
                "name": "sec",
                "secret": {
                    "secretName": "keys",
                    "items": [{"key": "key", "path": "d/k", "mode": 256}],
                },
            },
            {"name": "mem", "emptyDir": {"medium": "Memory"}},
            {"name": "host", "hostPath": {"path": str(world.shared)}},
            {
                "name": "token",
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                        {"configMap": {"name": "kube-root-ca.crt"}},
                        {
                            "downwardAPI": {
                                "items": [
                                    {
                                        "path": "namespace",
                                        "fieldRef": {"fieldPath": "metadata.namespace"},
                                    }
                                ]
                            }
                        },
                    ]
                },
            },
        ]
        paths = {"cm": "/cm", "sec": "/sec", "mem": "/mem", "host": "/host", "token": "/var/sa"}
        mounts: list[Json] = [{"name": n, "mountPath": p} for n, p in paths.items()]
        mounts.append({"name": "cm", "mountPath": "/one-b", "subPath": "b"})
        script = (
            "cat /cm/a /cm/b /one-b /sec/d/k; echo; stat -c %a /sec/d/k; cat /var/sa/token; echo;"
            "cat /var/sa/ca.crt /var/sa/namespace; echo; grep ' /mem ' /proc/mounts;"
            f"echo here > /host/f; echo {END}; {FOREVER}"
        )
        name = await world.run(script, container={"volumeMounts": mounts}, volumes=volumes)
        await world.until(name, ready)
        said = await world.says(name, lambda log: END in log)
        first, mode, token, names, mem, _ = said.splitlines()
        assert (first, mode, token, names) == ("122K", "400", "token-of-default", "CAdefault")
        assert mem.split()[2] == "tmpfs"
        assert (world.shared / "f").read_text() == "here\n"
        await world.api.patch(CONFIG_MAP, "files", b'{"data":{"a":"new"}}', "default")
        uid = (await world.pod(name))["metadata"]["uid"]
        volume = world.host.directory / f"agent/pods/{uid}/volumes/kubernetes.io~configmap/cm"
        await settled(lambda: (volume / "a").read_text() == "new")

    play(scenario)


def test_limits_security_and_dns(play: Play) -> None:
    async def scenario(world: World) -> None:
        script = (
            "id -u; cat /proc/self/status; "
            "touch /x 2>&1; cat /etc/resolv.conf /etc/hosts; hostname; "
            f"cat /proc/self/cgroup; echo {END}; {FOREVER}"
        )
        name = await world.run(
            script,
            hostname="web",
            subdomain="sub",
            hostAliases=[{"ip": "1.2.3.4", "hostnames": ["alias"]}],
            container={
                "resources": {"limits": {"cpu": "200m", "memory": "32Mi"}},
                "securityContext": {
                    "runAsUser": 1000,
                    "readOnlyRootFilesystem": True,
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            },
        )
        pod = await world.until(name, ready)
        assert pod["status"]["qosClass"] == "Guaranteed"
        text = await world.says(name, lambda log: END in log)
        assert text.startswith("1000\n")
        for expected in (
            "Seccomp:\t2",
            "NoNewPrivs:\t1",
            "CapEff:\t0000000000000000",
            "touch: /x: Read-only file system",
            "nameserver 10.96.0.10",
            "search default.svc.cluster.local svc.cluster.local cluster.local",
            "options ndots:5",
            f"{pod['status']['podIP']}\tweb.sub.default.svc.cluster.local\tweb",
            "1.2.3.4\talias",
            "\nweb\n",
            f"{world.host.cgroup_root}/kubepods/pod{pod['metadata']['uid']}/",
        ):
            assert expected in text, text
        uid = pod["metadata"]["uid"]
        base = Path("/sys/fs/cgroup")
        relative = f"{world.host.cgroup_root}/kubepods/pod{uid}".lstrip("/")
        if (base / "cpu").is_dir():
            assert (base / "cpu" / relative / "cpu.cfs_quota_us").read_text() == "20000\n"
            limit = (base / "memory" / relative / "memory.limit_in_bytes").read_text()
            assert int(limit) == 32 << 20

    play(scenario)


def test_running_out_of_memory_is_said(play: Play) -> None:
    async def scenario(world: World) -> None:
        limits = {"resources": {"limits": {"memory": "16Mi"}}}
        name = await world.run("tail /dev/zero", container=limits, restartPolicy="Never")
        pod = await world.until(name, lambda p: phase(p) == "Failed")
        ended = container(pod)["state"]["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")

    play(scenario)


def test_a_running_container_gets_other_limits(play: Play) -> None:
    async def scenario(world: World) -> None:
        small = {"limits": {"cpu": "200m", "memory": "64Mi"}}
        script = (
            "while :; do cat /sys/fs/cgroup/memory.max "
            "/sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; sleep 0.2; done"
        )
        name = await world.run(script, container={"resources": small})
        pod = await world.until(name, ready)
        before = container(pod)["containerID"]
        assert container(pod)["resources"] == small
        await world.says(name, lambda log: str(64 << 20) in log.splitlines())
        big = {"limits": {"cpu": "300m", "memory": "96Mi"}}
        spec = {"containers": [{**pod["spec"]["containers"][0], "resources": big}]}
        await world.api.patch(POD, name, orjson.dumps({"spec": spec}), "default")
        pod = await world.until(name, lambda p: container(p).get("resources") == big)
        await world.says(name, lambda log: str(96 << 20) in log.splitlines())
        assert (container(pod)["containerID"], container(pod)["restartCount"]) == (before, 0)
        await settled(lambda: "Resized" in world.reasons(name))
        await world.kill()
        await world.start()
        await world.until(name, ready)
        assert world.reasons(name).count("Resized") == 1
        status, text = await world.ask("/metrics/resource")
        assert status == 200
        assert f'pod="{name}"' in text

    play(scenario)
