"""`wherry up`: cold start, memory and idle CPU of one master, and 1,000 pods on 100 hollow nodes."""

import argparse
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from _report import Report, cpu_s, rss_mb, wait_until

PORT = 21000
NODES, REPLICAS = 100, 1000
IDLE_S = 20.0


class Cluster:
    """One `wherry up` on ports of its own."""

    def __init__(self, nodes: int) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="wherry-bench-"))
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "wherry.cli", "up", "--runtime", "hollow"),
                *("--nodes", str(nodes), "--ports-from", str(PORT)),
                *("--data-dir", str(self.directory), "--health-port", "0"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=(self.directory / "up.log").open("wb"),
        )
        self._context: ssl.SSLContext | None = None

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Make one request as administrator."""
        if self._context is None:
            pki = self.directory / "pki"
            context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
            context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
            self._context = context
        request = urllib.request.Request(  # our own server
            f"https://127.0.0.1:{PORT}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, context=self._context, timeout=10) as answer:  # noqa: S310
            return json.loads(answer.read())

    def ready(self) -> bool:
        """Tell whether /readyz answers 200."""
        try:
            context = ssl.create_default_context(cafile=str(self.directory / "pki" / "ca.crt"))
            with urllib.request.urlopen(
                f"https://127.0.0.1:{PORT}/readyz", context=context, timeout=1
            ) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def children(self) -> dict[str, int]:
        """Return pids by subcommand."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                argv = (entry / "cmdline").read_bytes().split(b"\0")
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == self.process.pid and b"wherry.cli" in argv:
                found[argv[argv.index(b"wherry.cli") + 1].decode()] = int(entry.name)
        return found

    def stop(self) -> None:
        """Stop and remove everything."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        shutil.rmtree(self.directory)


def cold_start(report: Report) -> None:
    cluster = Cluster(nodes=1)
    try:
        wait_until(cluster.ready, within_s=60, what="/readyz")
        report.add("cold start to /readyz", time.perf_counter() - cluster.began, "s", "< 2")
        wait_until(lambda: len(cluster.children()) == 5, within_s=30, what="all processes")
        wait_until(
            lambda: any(
                c["type"] == "Ready" and c["status"] == "True"
                for n in cluster.call("GET", "/api/v1/nodes")["items"]
                for c in n["status"].get("conditions", [])
            ),
            within_s=60,
            what="a Ready node",
        )
        report.add("cold start to a Ready node", time.perf_counter() - cluster.began, "s")
        time.sleep(5)  # let start-up work end: idle is measured, not waited for
        pids = cluster.children()
        total = 0.0
        for name, pid in sorted(pids.items()):
            memory = rss_mb(pid)
            if name != "agent":
                total += memory
            report.add(f"RSS of {name}", memory, "MB")
        report.add("RSS of one master's processes", total, "MB", "< 250")
        before = {name: cpu_s(pid) for name, pid in pids.items()}
        time.sleep(IDLE_S)
        idle = {name: (cpu_s(pid) - before[name]) / IDLE_S * 100 for name, pid in pids.items()}
        for name, percent in sorted(idle.items()):
            report.add(f"idle CPU of {name}", percent, "%")
        report.add("idle CPU of the host", sum(idle.values()), "%", "< 5")
    finally:
        cluster.stop()


def many(report: Report) -> None:
    cluster = Cluster(nodes=NODES)
    try:
        wait_until(cluster.ready, within_s=60, what="/readyz")
        began = time.perf_counter()

        def ready_nodes() -> int:
            return sum(
                c["type"] == "Ready" and c["status"] == "True"
                for n in cluster.call("GET", "/api/v1/nodes")["items"]
                for c in n["status"].get("conditions", [])
            )

        wait_until(lambda: ready_nodes() == NODES, within_s=120, what="nodes Ready")
        report.add(f"{NODES} nodes Ready after", time.perf_counter() - began, "s")
        deployment = {
            "metadata": {"name": "many"},
            "spec": {
                "replicas": REPLICAS,
                "selector": {"matchLabels": {"app": "many"}},
                "template": {
                    "metadata": {"labels": {"app": "many"}},
                    "spec": {"containers": [{"name": "c", "image": "nginx"}]},
                },
            },
        }
        before = {name: cpu_s(pid) for name, pid in cluster.children().items()}
        created = time.perf_counter()
        cluster.call("POST", "/apis/apps/v1/namespaces/default/deployments", deployment)

        def available() -> int:
            path = "/apis/apps/v1/namespaces/default/deployments/many"
            return int(cluster.call("GET", path).get("status", {}).get("availableReplicas", 0))

        wait_until(lambda: available() == REPLICAS, within_s=180, what="pods Running")
        report.add(f"{REPLICAS} pods Running after", time.perf_counter() - created, "s")
        report.add("nodes and pods together", time.perf_counter() - began, "s", "<= 30")
        for name, pid in sorted(cluster.children().items()):
            used = (cpu_s(pid) - before[name]) / REPLICAS * 1000
            report.add(f"CPU per pod in {name}", used, "ms")
            report.add(f"RSS of {name} with {REPLICAS} pods", rss_mb(pid), "MB")
    finally:
        cluster.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, cores)  # the figures are for two cores
    report = Report("up")
    cold_start(report)
    many(report)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
