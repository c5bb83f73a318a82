"""What a pod's worker tells the API server of its pod, and remembers of having told it.

The API server's copy of the status comes back late. Until then, what this node has said of its
own part stands: a decision must not be taken from a status older than the last one.
"""

from collections.abc import Callable

import msgspec

from wherry.agent.container_actions import NodeServices
from wherry.agent.plan import Plan, Snapshot
from wherry.agent.prober import Prober
from wherry.agent.runtime import ContainerState, RuntimePod
from wherry.agent.runtime_config import PodRef
from wherry.agent.status import OURS, Observed, render_status
from wherry.agent.views import Pod, PodStatus


class PodReporter:
    """Of one pod; `conflicted` is called when a status was made from an old pod."""

    def __init__(
        self, ref: PodRef, node: NodeServices, prober: Prober, conflicted: Callable[[], None]
    ) -> None:
        self._ref = ref
        self._node = node
        self._prober = prober
        self._conflicted = conflicted
        self._own: PodStatus | None = None
        self._messages: dict[str, str] = {}

    def seen(self, pod: Pod) -> None:
        """Take the pod as the API server has it now."""
        ours = {c.type: c.status for c in pod.status.conditions if c.type in OURS}
        revision = int(pod.metadata.resource_version or 0)
        self._node.statuses.seen(self._ref.uid, revision, ours)

    def current(self, pod: Pod) -> Pod:
        """Return `pod` with what this node said last, and with the conditions of others."""
        if self._own is None:
            return pod
        foreign = [c for c in pod.status.conditions if c.type not in OURS]
        ours = [c for c in self._own.conditions if c.type in OURS]
        status = msgspec.structs.replace(self._own, conditions=[*ours, *foreign])
        return msgspec.structs.replace(pod, status=status)

    async def report(self, snapshot: Snapshot, pod: Pod, plan: Plan) -> None:
        """Render the status, and have it written."""
        await self._read_messages(pod, snapshot.runtime)
        observed = Observed(
            host_ip=self._node.host_ip,
            runtime_name=self._node.runtime_name,
            ready=self._prober.ready,
            messages=self._messages,
            settled=plan.settled,
        )
        status = render_status(pod, snapshot, observed)
        self._own = msgspec.convert(status, PodStatus)
        guarded = pod.spec.readiness_gates or any(c.type not in OURS for c in pod.status.conditions)
        self._node.statuses.set(
            self._ref,
            status,
            revision=pod.metadata.resource_version if guarded else "",
            remove=plan.settled and pod.metadata.deleting,
            conflicted=self._conflicted,
        )

    async def _read_messages(self, pod: Pod, runtime: RuntimePod) -> None:
        """Read what containers left behind as their last words, once each."""
        for record in runtime.containers:
            if record.state is ContainerState.EXITED and record.id not in self._messages:
                text = await self._node.host.termination_message(pod, record)
                self._messages[record.id] = text
        known = {c.id for c in runtime.containers}
        self._messages = {i: m for i, m in self._messages.items() if i in known}
