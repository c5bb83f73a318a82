"""Hosts and pods as network namespaces of one test process, for tests marked `netns`.

    wn-PID-net: br0 -- veth -- eth0 192.168.77.N/24 in wn-PID-hN -- cni0 -- veth -- eth0 in a pod

Everything is made and removed by `lab()`, also when a test fails; what a killed test run
has left behind is removed by the next one. Servers and clients are sockets of this process,
made in the pod's or host's namespace: there are no processes to look after.
"""

import asyncio
import json
import os
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from wherry.host.thread import HostError, HostThread

PREFIX = "wn"
ANY = ""
CNI_BIN = Path("/usr/lib/cni")


def sh(*command: str, stdin: str = "", env: dict[str, str] | None = None) -> str:
    """Run a program to its end; its error output becomes the exception's text."""
    merged = {**os.environ, **(env or {})}
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=120, check=False, env=merged
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"
    return done.stdout


class Place:
    """A namespace that things are done in: a host or a pod."""

    def __init__(self, name: str, address: str = "") -> None:
        self.name = name
        self.address = address
        self.thread = HostThread(name)  # for the components under test
        self._own = HostThread(name)  # for the test: it must not wait for them

    @property
    def path(self) -> str:
        return f"/run/netns/{self.name}"

    def close(self) -> None:
        self.thread.close()
        self._own.close()

    async def sh(self, *command: str) -> str:
        """Run a program here; HostError if it fails."""
        return await self._own.run(command)

    async def tcp_server(self, stack: AsyncExitStack, port: int, name: str) -> None:
        """Answer each connection with `name` and the peer's address as seen here."""

        async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = writer.get_extra_info("peername")
            writer.write(f"{name} {peer[0]}".encode())
            writer.close()

        def listen() -> socket.socket:
            return socket.create_server((ANY, port))

        server = await asyncio.start_server(answer, sock=await self._own.call(listen))
        await stack.enter_async_context(server)

    async def udp_server(self, stack: AsyncExitStack, port: int, name: str) -> None:
        """Answer each datagram with `name` and the peer's address as seen here."""

        class Echo(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                self.transport.sendto(f"{name} {addr[0]}".encode(), addr)

        bound = await self.udp_socket((ANY, port))
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, sock=bound)
        stack.callback(transport.close)

    async def udp_socket(self, address: tuple[str, int]) -> socket.socket:
        """Return a bound UDP socket of this namespace, not blocking."""

        def bind() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.setblocking(False)
            made.bind(address)
            return made

        return await self._own.call(bind)

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a function in this namespace."""
        return await self._own.call(function, *args)

    async def ask(self, address: str, port: int, timeout_s: float = 30.0) -> str:
        """Connect and return the answer, or the name of what went wrong."""

        def connect() -> str:
            try:
                with socket.create_connection((address, port), timeout_s) as client:
                    return client.recv(200).decode()
            except OSError as error:
                return type(error).__name__

        return await self._own.call(connect)

    async def ask_many(self, address: str, port: int, times: int) -> Counter[str]:
        """Ask again and again; return how often each answer came."""
        return Counter([await self.ask(address, port) for _ in range(times)])

    async def mtu_allows(self, address: str, payload: int) -> bool:
        """Ping once with "do not fragment" and `payload` bytes."""
        try:
            await self.sh("ping", "-c1", "-W10", "-Mdo", f"-s{payload}", address)
        except HostError:
            return False
        return True


class Lab:
    """Hosts on one underlay; `hosts[0]` has address 192.168.77.1."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = f"{PREFIX}-{os.getpid()}"
        self.hosts: list[Place] = []
        self.pods: list[Place] = []

    def start(self, count: int) -> None:
        remove_stale()
        net = f"{self.name}-net"
        sh("ip", "netns", "add", net)
        sh("ip", "-n", net, "link", "add", "br0", "type", "bridge")
        sh("ip", "-n", net, "link", "set", "br0", "up")
        for number in range(1, count + 1):
            self._add_host(net, number)

    def _add_host(self, net: str, number: int) -> None:
        name, address = f"{self.name}-h{number}", f"192.168.77.{number}"
        sh("ip", "netns", "add", name)
        sh("ip", "-n", name, "link", "set", "lo", "up")
        sh("ip", "-n", net, "link", "add", f"h{number}", "type", "veth", "peer", "name", "eth0",
           "netns", name)  # fmt: skip
        sh("ip", "-n", net, "link", "set", f"h{number}", "master", "br0", "up")
        sh("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        sh("ip", "-n", name, "link", "set", "eth0", "up")
        self.hosts.append(Place(name, address))

    async def add_pod(self, host: Place, conflist: bytes, name: str) -> Place:
        """Attach a new namespace to `host` by the CNI plugins and the list that we wrote."""
        netns = f"{self.name}-{name}"
        sh("ip", "netns", "add", netns)
        sh("ip", "-n", netns, "link", "set", "lo", "up")
        config = json.loads(conflist)
        result: Any = None
        for plugin in config["plugins"]:
            one = {**plugin, "cniVersion": config["cniVersion"], "name": config["name"]}
            one["runtimeConfig"] = {"portMappings": []}
            if result is not None:
                one["prevResult"] = result
            result = json.loads(await host.call(_cni, "ADD", netns, one))
        pod = Place(netns, result["ips"][0]["address"].split("/")[0])
        self.pods.append(pod)
        return pod

    def close(self) -> None:
        for place in (*self.hosts, *self.pods):
            place.close()
        for name in namespaces():
            if name.startswith(f"{self.name}-"):
                sh("ip", "netns", "del", name)


def _cni(command: str, netns: str, config: dict[str, Any]) -> str:
    env = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": netns,
        "CNI_NETNS": f"/run/netns/{netns}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": str(CNI_BIN),
    }
    return sh(str(CNI_BIN / config["type"]), stdin=json.dumps(config), env=env)


def namespaces() -> list[str]:
    """Return the names of all network namespaces of this machine."""
    return [line.split()[0] for line in sh("ip", "netns", "list").splitlines()]


def remove_stale(prefix: str = PREFIX) -> None:
    """Remove what test runs that are no more have left."""
    for name in namespaces():
        parts = name.split("-")
        if parts[0] == prefix and len(parts) > 2 and not Path(f"/proc/{parts[1]}").exists():
            sh("ip", "netns", "del", name)


@asynccontextmanager
async def lab(directory: Path, hosts: int) -> AsyncIterator[Lab]:
    """Make a lab and remove it whatever happens."""
    made = Lab(directory)
    try:
        made.start(hosts)
        yield made
    finally:
        made.close()


async def eventually(
    condition: Callable[[], Awaitable[bool]], *, within_s: float = 90.0, what: str = ""
) -> None:
    """Ask again until the condition holds; fails at the deadline."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not await condition():
        assert loop.time() < deadline, f"not within {within_s} s: {what or condition}"
        await asyncio.sleep(0.05)
