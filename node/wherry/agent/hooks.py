"""postStart and preStop hooks."""

import asyncio
from typing import Final

from wherry.agent.probe_runner import http_get
from wherry.agent.probes import port_number
from wherry.agent.runtime import Runtime, RuntimeRefusedError
from wherry.agent.views import Container, LifecycleHandler

EXEC_TIMEOUT_S: Final = 3600.0
HTTP_TIMEOUT_S: Final = 30.0


async def run_hook(
    runtime: Runtime, hook: LifecycleHandler, container: Container, container_id: str, pod_ip: str
) -> str:
    """Run a hook; return why it failed, "" if it did not."""
    if hook.exec is not None:
        try:
            result = await runtime.exec_sync(container_id, hook.exec.command, EXEC_TIMEOUT_S)
        except RuntimeRefusedError as error:
            return str(error)
        return "" if result.exit_code == 0 else f"exited with {result.exit_code}"
    if hook.http_get is not None:
        port = port_number(hook.http_get.port, container)
        if port is None:
            return f"couldn't find port: {hook.http_get.port}"
        host = hook.http_get.host or pod_ip
        answer = await http_get(hook.http_get, host, port, HTTP_TIMEOUT_S)
        return "" if answer.success else answer.message
    if hook.sleep is not None:
        await asyncio.sleep(hook.sleep.seconds)
    return ""
