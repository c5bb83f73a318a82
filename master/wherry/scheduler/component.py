"""The scheduler as a component: informers, leader election, and one `Term` while it leads."""

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Final

from wherry.api.clock import Clock
from wherry.api.kinds import NODE, POD, SERVICE
from wherry.api.objects import Node, Pod, Service
from wherry.client.api import Api
from wherry.client.election import LeaderElector
from wherry.client.events import EventRecorder
from wherry.client.informer import Informer
from wherry.scheduler.binder import DefaultBinder
from wherry.scheduler.framework import BindPlugin, Profile
from wherry.scheduler.plugins.default import DEFAULT_PROFILE
from wherry.scheduler.term import Term

LEASE_NAME: Final = "kube-scheduler"


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """What the flags say.

    Attributes:
        identity: Unique for this incarnation of the process.
        scheduler_name: Which pods are ours, by `spec.schedulerName`.
        leader_elect: Compete for the Lease; without, lead from the start.
        lease_s: Silence after which others take over.
        renew_s: How long a leader tries to renew before it stops.
        retry_s: Pause between attempts.
    """

    identity: str
    scheduler_name: str = "default-scheduler"
    leader_elect: bool = True
    lease_s: float = 15.0
    renew_s: float = 10.0
    retry_s: float = 2.0


class Scheduler:
    """See the module.

    Args:
        config: What the flags say.
        api: Where everything is.
        clock: Dates and back-off.
        rng: Ties, jitter, event names.
        profile: The plugins.
        binder: How decisions are made known; the default asks the API server to bind.
    """

    def __init__(
        self,
        config: SchedulerConfig,
        api: Api,
        *,
        clock: Clock,
        rng: Random,
        profile: Profile = DEFAULT_PROFILE,
        binder: BindPlugin | None = None,
    ) -> None:
        self._config = config
        self._api = api
        self._clock = clock
        self._rng = rng
        self._profile = profile
        self._binder = binder or DefaultBinder(api)
        self._pods = Informer(api, POD, Pod, rng=rng)
        self._nodes = Informer(api, NODE, Node, rng=rng)
        self._services = Informer(api, SERVICE, Service, rng=rng)
        self._term: Term | None = None
        self._pods.add_listener(self._pod_changed)
        self._nodes.add_listener(self._node_changed)
        self._services.add_listener(self._service_changed)

    def not_ready(self) -> str | None:
        """Say what is missing before this process can act, None if nothing (readiness check)."""
        informers = (self._pods, self._nodes, self._services)
        return None if all(i.synced.is_set() for i in informers) else "caches are not synced"

    async def run(self) -> None:
        """Run until cancelled."""
        config = self._config
        events = EventRecorder(self._api, self._clock, config.scheduler_name, rng=self._rng)

        async def lead() -> None:
            await self._lead(events)

        async with asyncio.TaskGroup() as group:
            group.create_task(events.run(), name="events")
            group.create_task(self._pods.run(), name="informer pods")
            group.create_task(self._nodes.run(), name="informer nodes")
            group.create_task(self._services.run(), name="informer services")
            for informer in (self._pods, self._nodes, self._services):
                await informer.synced.wait()
            if not config.leader_elect:
                await lead()
                return
            elector = LeaderElector(
                self._api,
                self._clock,
                rng=self._rng,
                name=LEASE_NAME,
                identity=config.identity,
                lease_s=config.lease_s,
                renew_s=config.renew_s,
                retry_s=config.retry_s,
            )
            await elector.run(lead)

    async def _lead(self, events: EventRecorder) -> None:
        """Start from what the API server has: what a former term assumed may not have happened."""
        self._term = term = Term(
            self._api,
            clock=self._clock,
            rng=self._rng,
            profile=self._profile,
            binder=self._binder,
            events=events,
            scheduler_name=self._config.scheduler_name,
            find=self._pods.get,
        )
        for node in self._nodes.values():
            term.node_changed(None, node)
        for service in self._services.values():
            term.service_changed(None, service)
        for pod in self._pods.values():
            term.pod_changed(None, pod)
        try:
            await term.run()
        finally:
            self._term = None

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if self._term is not None:
            self._term.pod_changed(old, new)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if self._term is not None:
            self._term.node_changed(old, new)

    def _service_changed(self, old: Service | None, new: Service | None) -> None:
        if self._term is not None:
            self._term.service_changed(old, new)
