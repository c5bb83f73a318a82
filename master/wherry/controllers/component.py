"""The controller manager: all control loops on one set of caches, run by the elected leader.

Caches are filled while waiting for the lead as well, so that a new leader acts at once.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from wherry.api.clock import Clock
from wherry.client.api import Api
from wherry.client.election import LeaderElector
from wherry.client.events import EventRecorder
from wherry.controllers.caches import InformerSet
from wherry.controllers.deployment import DeploymentController
from wherry.controllers.disruption import DisruptionController
from wherry.controllers.driver import WORKERS, Driver
from wherry.controllers.endpoints import EndpointSliceController
from wherry.controllers.endpoints_object import EndpointsController
from wherry.controllers.framework import Controller
from wherry.controllers.garbage import GarbageCollector
from wherry.controllers.namespace import NamespaceController
from wherry.controllers.node_lifecycle import GRACE_S, NodeLifecycleController
from wherry.controllers.on_demand import OnDemand
from wherry.controllers.podgc import PodGC
from wherry.controllers.replication import ReplicaSetController, ReplicationControllerController
from wherry.controllers.serviceaccount import RootCAPublisher, ServiceAccountController
from wherry.controllers.taint_eviction import TaintEvictionController
from wherry.pki.subject import KeyPair

log = logging.getLogger(__name__)
SIGNING_S: Final = 365 * 86_400.0
LEASE_NAME: Final = "kube-controller-manager"
_MORE_WORKERS: Final = {GarbageCollector.name: 20, NodeLifecycleController.name: 8}


@dataclass(frozen=True, slots=True)
class ControllerManagerConfig:
    """What the flags say.

    Attributes:
        identity: Unique for this incarnation of the process.
        leader_elect: Compete for the Lease; without, lead from the start.
        lease_s: Silence after which others take over.
        renew_s: How long a leader tries to renew before it stops.
        retry_s: Pause between attempts.
        node_grace_s: Silence after which a node counts as lost.
        terminated_pod_threshold: Ended pods that may stay, 0 for any number.
        root_ca: The authority that every namespace gets, PEM; "" for none.
        signing_ca: The authority that signs nodes' certificates; without, none are.
        signing_s: The longest life of a certificate that it signs.
    """

    identity: str
    leader_elect: bool = True
    lease_s: float = 15.0
    renew_s: float = 10.0
    retry_s: float = 2.0
    node_grace_s: float = GRACE_S
    terminated_pod_threshold: int = 12500
    root_ca: str = ""
    signing_ca: KeyPair | None = None
    signing_s: float = SIGNING_S


class ControllerManager:
    """See the module.

    Args:
        config: What the flags say.
        api: Where everything is.
        clock: Dates and measured time.
        rng: Jitter, event names.
    """

    def __init__(
        self, config: ControllerManagerConfig, api: Api, *, clock: Clock, rng: Random
    ) -> None:
        self._config = config
        self._api = api
        self._clock = clock
        self._rng = rng
        self._caches: InformerSet | None = None

    def not_ready(self) -> str | None:
        """Say what is missing before this process can act, None if nothing (readiness check)."""
        if self._caches is None or not self._caches.synced:
            return "caches are not synced"
        return None

    async def run(self) -> None:
        """Run until cancelled."""
        caches = InformerSet(self._api, self._rng)
        drivers = []
        recorders = []
        for controller in self._controllers():
            events = EventRecorder(self._api, self._clock, controller.name, rng=self._rng)
            recorders.append(events)
            drivers.append(self._driver(controller, caches, events))
        self._caches = caches
        async with asyncio.TaskGroup() as group:
            group.create_task(caches.run(), name="informers")
            for events in recorders:
                group.create_task(events.run(), name="events")
            await caches.wait_synced()
            await self._lead(drivers)

    async def _lead(self, drivers: Sequence[Driver]) -> None:
        async def lead() -> None:
            async with asyncio.TaskGroup() as group:
                for driver in drivers:
                    group.create_task(driver.run())

        config = self._config
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

    def _driver(self, controller: Controller, caches: InformerSet, events: EventRecorder) -> Driver:
        return Driver(
            controller,
            self._api,
            caches,
            clock=self._clock,
            rng=self._rng,
            events=events,
            workers=_MORE_WORKERS.get(controller.name, WORKERS),
        )

    def _controllers(self) -> list[Controller]:
        config = self._config
        controllers: list[Controller] = [
            DeploymentController(),
            ReplicaSetController(),
            ReplicationControllerController(),
            EndpointSliceController(),
            EndpointsController(),
            DisruptionController(),
            NamespaceController(),
            GarbageCollector(),
            ServiceAccountController(),
            NodeLifecycleController(grace_s=config.node_grace_s, monotonic=self._clock.monotonic),
            TaintEvictionController(),
            PodGC(terminated_threshold=config.terminated_pod_threshold),
            OnDemand("wherry.controllers.csr_cleaner", lambda m: m.CSRCleanerController()),
        ]
        if config.root_ca:
            controllers.append(RootCAPublisher(config.root_ca))
        if config.signing_ca is not None:
            authority, most_s = config.signing_ca, config.signing_s
            controllers += [
                OnDemand("wherry.controllers.csr_approving", lambda m: m.CSRApprovingController()),
                OnDemand(
                    "wherry.controllers.csr_signing",
                    lambda m: m.CSRSigningController(authority, most_s=most_s),
                ),
            ]
        return controllers
