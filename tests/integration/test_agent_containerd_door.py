"""The agent's own server over a real containerd: logs, exec, port-forward, and for whom."""

import asyncio
import base64

import orjson
import pytest
from agent_objects import phase, ready
from containerd_host import BUSYBOX
from containerd_world import FOREVER, WITHIN_S, Json, Play, World, container, settled

from wherry.api.kinds import POD

pytestmark = [pytest.mark.containerd, pytest.mark.integration, pytest.mark.netns]


def test_exec_and_port_forward_are_tunnelled(play: Play) -> None:
    async def scenario(world: World) -> None:
        # httpd goes into the background when it listens.
        name = await world.run(f"httpd -p 8080; touch /v/listens; {FOREVER}", shares=True)
        await world.until(name, ready)
        await settled((world.shared / "listens").exists)
        key = base64.b64encode(b"0123456789abcdef").decode()
        upgrade = (
            "Host: n1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
        )
        command = "command=sh&command=-c&command=echo%20out;exit%203"
        status, body = await world.exchange(
            f"GET /exec/default/{name}/c?{command}&output=1&error=1 HTTP/1.1\r\n{upgrade}"
        )
        assert status == 101
        assert b"\x01out\n" in body
        assert b'"reason":"ExitCode","message":"3"' in body
        spdy = (
            "Host: n1\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
            "X-Stream-Protocol-Version: portforward.k8s.io\r\nContent-Length: 0\r\n\r\n"
        )
        reader, writer = await world.send(f"POST /portForward/default/{name} HTTP/1.1\r\n{spdy}")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        writer.close()
        dial = f"GET /dial/default/{name}?port={{}} HTTP/1.1\r\n{{}}Host: n1\r\n\r\n"
        tcp = "Connection: Upgrade, close\r\nUpgrade: tcp\r\n"
        status, body = await world.exchange(dial.format(8080, tcp) + "GET /none HTTP/1.0\r\n\r\n")
        assert status == 101
        assert b"404 Not Found" in body
        status, body = await world.exchange(dial.format(81, tcp))
        assert status == 503
        assert b":81: connect: connection refused" in body
        close = "Connection: close\r\n"
        assert (await world.exchange(dial.format(8080, close)))[0] == 400
        assert (await world.exchange(dial.format("x", tcp)))[0] == 400

    play(scenario)


def test_a_container_for_debugging_sees_the_processes_of_its_target(play: Play) -> None:
    async def scenario(world: World) -> None:
        # A shell that forks would be seen twice, for the moment before its child is a program.
        name = await world.run("exec sleep 12345")
        pod = await world.until(name, ready)
        debugger = {
            "name": "d",
            "image": BUSYBOX,
            "command": ["sh", "-c", "ps | grep -v grep | grep -c 12345; exit 4"],
            "targetContainerName": "c",
        }
        patch = {"spec": {"ephemeralContainers": [debugger]}}
        await world.api.patch(POD, name, orjson.dumps(patch), "default")

        def ended(pod: Json) -> bool:
            said = pod["status"].get("ephemeralContainerStatuses", [{"state": {}}])
            return "terminated" in said[0]["state"]

        after = await world.until(name, ended)
        (said,) = after["status"]["ephemeralContainerStatuses"]
        assert (said["state"]["terminated"]["exitCode"], said["restartCount"]) == (4, 0)
        assert (phase(after), container(after)["containerID"]) == (
            "Running",
            container(pod)["containerID"],
        )
        async with asyncio.timeout(WITHIN_S):
            while await world.ask(f"/containerLogs/default/{name}/d") != (200, "1\n"):
                await asyncio.sleep(0.05)

    play(scenario)


def test_the_door_is_for_the_api_server_only(play: Play) -> None:
    async def scenario(world: World) -> None:
        name = await world.run("echo x; sleep 1000")
        await world.until(name, ready)
        assert (await world.ask("/healthz"))[0] == 200
        assert (await world.ask("/healthz", tls=world.stranger()))[0] == 403
        status, text = await world.ask("/pods")
        assert (status, len(orjson.loads(text)["items"])) == (200, 1)
        status, text = await world.ask("/stats/summary")
        assert orjson.loads(text)["pods"][0]["podRef"]["name"] == name
        assert (await world.ask(f"/containerLogs/default/{name}/no"))[0] == 404
        assert (await world.ask("/containerLogs/default/no/c"))[0] == 404
        assert (await world.ask(f"/containerLogs/default/{name}/c?tailLines=x"))[0] == 400
        assert (await world.ask(f"/containerLogs/default/{name}/c?previous=true"))[0] == 400
        assert (await world.ask(f"/exec/default/{name}/c?command=id"))[0] == 400
        assert (await world.ask("/etc/passwd"))[0] == 404

    play(scenario)


def test_following_a_log_ends_with_the_container(play: Play) -> None:
    async def scenario(world: World) -> None:
        name = await world.run(
            "for i in 1 2 3 4 5 6; do echo $i; sleep 0.3; done", restartPolicy="Never"
        )
        await world.until(name, lambda p: phase(p) in ("Running", "Succeeded"))
        assert (await world.log(name, "follow=true")).split() == list("123456")

    play(scenario)
