"""What the API server's benchmarks ask for: objects, and requests that must succeed."""

from typing import Any

from lablib.chaos.rest import Connection

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
ROUNDS = 3
"""Whoever else uses the machine makes an operation dearer and never cheaper: the cheapest counts."""


def config_map(number: int, stamp: float = 0.0) -> dict[str, Any]:
    return {
        "metadata": {"name": f"cm-{number}", "labels": {"app": "bench"}},
        "data": {"payload": "x" * 1024, "stamp": f"{stamp:.6f}"},
    }


def pod(number: int) -> dict[str, Any]:
    container = {
        "name": "app",
        "image": "nginx:1.25",
        "ports": [{"containerPort": 80}],
        "env": [{"name": f"NAME_{each}", "value": "value"} for each in range(5)],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
    }
    labels = {"app": "bench", "number": str(number % 10)}
    return {
        "metadata": {"name": f"pod-{number}", "labels": labels},
        "spec": {"containers": [container]},
    }


async def ask(connection: Connection, method: str, path: str, body: Any = None) -> bytes:
    answer = await connection.request(method, path, body)
    if answer.status >= 300:
        raise SystemExit(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
    return answer.body
