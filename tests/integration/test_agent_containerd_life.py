"""Pods on a real containerd from their beginning to their end: restarts, probes, hooks, grace."""

import os

import pytest
from agent_objects import phase, ready
from containerd_host import BUSYBOX
from containerd_world import FOREVER, Json, Play, World, container, settled, waiting

from wherry.api.kinds import NODE, POD

pytestmark = [pytest.mark.containerd, pytest.mark.integration, pytest.mark.netns]

LATE_S = 600
"""A grace period that no test waits for: whoever needs all of it fails."""


def test_a_pod_runs_logs_and_goes(play: Play) -> None:
    async def scenario(world: World) -> None:
        name = await world.run(f"echo hello; echo there; {FOREVER}")
        pod = await world.until(name, ready)
        status = pod["status"]
        assert phase(pod) == "Running"
        assert status["podIP"].startswith("10.88.0.")
        assert status["hostIP"] == "10.88.0.1"
        assert status["qosClass"] == "BestEffort"
        assert container(pod)["containerID"].startswith("containerd://")
        assert container(pod)["imageID"].startswith("sha256:")
        await world.says(name, lambda log: log == "hello\nthere\n")
        assert await world.log(name, "tailLines=1") == "there\n"
        assert await world.log(name, "limitBytes=3") == "hel"
        assert (await world.log(name, "timestamps=true")).startswith("20")
        uid = pod["metadata"]["uid"]
        await world.api.delete(POD, name, "default", grace_s=5)
        await world.gone(name)
        told = {"Pulled", "Created", "Started", "Killing"}
        await settled(lambda: told <= set(world.reasons(name)))
        directory = world.host.directory
        await settled(lambda: not (directory / "agent/pods" / uid).exists())
        await settled(lambda: not list((directory / "logs").glob(f"*{uid}")))

    play(scenario)


def test_the_node_is_ready(play: Play) -> None:
    async def scenario(world: World) -> None:
        await settled(lambda: bool(world.api.objects(NODE)))
        (node,) = world.api.objects(NODE)
        conditions = {c["type"]: c for c in node["status"]["conditions"]}
        assert conditions["Ready"]["status"] == "True", conditions["Ready"]
        info = node["status"]["nodeInfo"]
        assert info["containerRuntimeVersion"].startswith("containerd://1.")
        assert int(node["status"]["capacity"]["cpu"]) == os.cpu_count()

    play(scenario)


def test_crashes_are_restarted_with_back_off_and_previous_logs(play: Play) -> None:
    async def scenario(world: World) -> None:
        name = await world.run("echo I am here; exit 3")
        pod = await world.until(name, lambda p: waiting(p) == "CrashLoopBackOff")
        assert container(pod)["restartCount"] == 1
        assert container(pod)["lastState"]["terminated"]["exitCode"] == 3
        assert "back-off 10s restarting failed container=c" in str(container(pod)["state"])
        await world.says(name, lambda log: log == "I am here\n", "previous=true")
        await world.until(name, lambda p: container(p).get("restartCount") == 2)
        await settled(lambda: "BackOff" in world.reasons(name))

    play(scenario)


def test_ends_failures_and_last_words(play: Play) -> None:
    async def scenario(world: World) -> None:
        good = await world.run("echo done > /dev/termination-log", restartPolicy="Never")
        bad = await world.run("exit 4", restartPolicy="Never")
        wrong = await world.run(container={"command": ["/no/such"]}, restartPolicy="Never")
        never = await world.run(container={"image": "x/y:1", "imagePullPolicy": "Never"})
        absent = await world.run(container={"image": "registry.test/none:1"})
        pod = await world.until(good, lambda p: phase(p) == "Succeeded")
        assert container(pod)["state"]["terminated"]["message"] == "done\n"
        pod = await world.until(bad, lambda p: phase(p) == "Failed")
        assert container(pod)["state"]["terminated"]["exitCode"] == 4
        pod = await world.until(wrong, lambda p: phase(p) == "Failed")
        assert container(pod)["state"]["terminated"]["reason"] == "StartError"
        await world.until(never, lambda p: waiting(p) == "ErrImageNeverPull")
        await world.until(absent, lambda p: waiting(p) == "ErrImagePull")
        await world.until(absent, lambda p: waiting(p) == "ImagePullBackOff")

    play(scenario)


def test_init_containers_go_first_and_in_order(play: Play) -> None:
    async def scenario(world: World) -> None:
        mount = [{"name": "v", "mountPath": "/v"}]

        def init(name: str) -> Json:
            command = ["sh", "-c", f"echo {name} >> /v/log"]
            return {"name": name, "image": BUSYBOX, "command": command, "volumeMounts": mount}

        name = await world.run(
            f"cat /v/log; {FOREVER}",
            container={"volumeMounts": mount},
            initContainers=[init("one"), init("two")],
            volumes=[{"name": "v", "emptyDir": {}}],
        )
        pod = await world.until(name, ready)
        await world.says(name, lambda log: log == "one\ntwo\n")
        assert [s["ready"] for s in pod["status"]["initContainerStatuses"]] == [True, True]

    play(scenario)


def test_probes(play: Play) -> None:
    async def scenario(world: World) -> None:
        serve = "mkdir -p /www; httpd -h /www -p 8080; "
        live = await world.run(
            f"touch /ok; (sleep 2; rm /ok) & {FOREVER}",
            container={
                "livenessProbe": {
                    "exec": {"command": ["cat", "/ok"]},
                    "periodSeconds": 1,
                    "failureThreshold": 1,
                }
            },
        )
        web = await world.run(
            serve + "until [ -e /v/go ]; do sleep 0.1; done; echo yes > /www/up; " + FOREVER,
            shares=True,
            container={
                "ports": [{"name": "http", "containerPort": 8080}],
                "readinessProbe": {
                    "httpGet": {"path": "/up", "port": "http"},
                    "periodSeconds": 1,
                },
                "startupProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
            },
        )
        pod = await world.until(web, lambda p: phase(p) == "Running")
        assert not ready(pod)
        failed = "Readiness probe failed: HTTP probe failed with statuscode: 404"
        await settled(lambda: failed in world.messages())
        assert not ready(await world.pod(web))
        (world.shared / "go").touch()
        await world.until(web, ready)
        await world.until(live, lambda p: container(p).get("restartCount", 0) >= 1)
        killed = "Container c failed liveness probe, will be restarted"
        await settled(lambda: killed in world.messages())

    play(scenario)


def test_a_pod_is_told_to_end_after_its_hook(play: Play) -> None:
    async def scenario(world: World) -> None:
        def write(text: str) -> Json:
            return {"exec": {"command": ["sh", "-c", f"echo {text} >> /v/log"]}}

        name = await world.run(
            "trap 'echo term >> /v/log; exit 0' TERM; while :; do sleep 0.1; done",
            shares=True,
            container={"lifecycle": {"postStart": write("post"), "preStop": write("pre")}},
        )
        await world.until(name, ready)
        await world.api.delete(POD, name, "default", grace_s=LATE_S)
        await world.gone(name)
        assert (world.shared / "log").read_text().split() == ["post", "pre", "term"]

    play(scenario)


def test_a_pod_that_will_not_end_is_killed_after_a_grace_that_may_be_shortened(play: Play) -> None:
    async def scenario(world: World) -> None:
        name = await world.run("trap '' TERM; while :; do sleep 0.1; done")
        await world.until(name, ready)
        await world.api.delete(POD, name, "default", grace_s=LATE_S)
        await settled(lambda: "Killing" in world.reasons(name))
        await world.api.delete(POD, name, "default", grace_s=1)
        await world.gone(name)

    play(scenario)
