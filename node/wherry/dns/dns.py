"""The DNS component: answers for the cluster from memory, asks others for the rest.

    services, slices --informers--> records --> zone --answer()--> reply
                                       `--every few seconds, if changed--> file

Nothing is asked of an API server while a query waits. Until both informers have listed, the
zone is what the file held; without a file, names of the cluster are SERVFAIL and not
NXDOMAIN, because "I do not know yet" must not be remembered as "there is none".
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from random import Random

import msgspec

from wherry.api import kinds
from wherry.api.errors import UnavailableError
from wherry.api.objects import EndpointSlice, Service
from wherry.client.api import Api
from wherry.client.informer import Informer
from wherry.dns.answer import Answer, Domain, Name, Rcode, Record, answer, name_of
from wherry.dns.listener import Listener
from wherry.dns.message import (
    EDNS_BYTES,
    Query,
    Refusal,
    build_query,
    build_reply,
    parse_query,
    upstream_records,
)
from wherry.dns.upstream import Upstream
from wherry.dns.zone import SERVICE_NAME_LABEL, ServiceRecord, Zone, service_record
from wherry.host.file import File
from wherry.host.thread import HostError

log = logging.getLogger(__name__)
_CHAIN = 8
"""How many aliases may follow each other."""


@dataclass(frozen=True, slots=True)
class DnsConfig:
    """Flags of `wherry dns`.

    Attributes:
        cluster_domain: The zone's name.
        servers: The zone's own addresses, as `ns.dns.<zone>` tells them.
        ttl_s: How long answers of the zone hold.
        save_s: Least time between two writes of the last known state.
    """

    cluster_domain: str = "cluster.local"
    servers: tuple[str, ...] = ()
    ttl_s: int = 5
    save_s: float = 3.0


class Dns:
    """One per node."""

    def __init__(
        self,
        config: DnsConfig,
        api: Api,
        listener: Listener,
        upstream: Upstream,
        state: File,
        rng: Random,
    ) -> None:
        self._config = config
        self._domain = Domain(
            name_of(config.cluster_domain),
            tuple(IPv4Address(server) for server in config.servers),
            config.ttl_s,
        )
        self._listener = listener
        self._upstream = upstream
        self._state = state
        self._rng = rng
        self._zone: Zone | None = None
        self._live = False
        self._dirty = asyncio.Event()
        self._services = Informer(api, kinds.SERVICE, Service, rng=rng)
        self._slices = Informer(api, kinds.ENDPOINT_SLICE, EndpointSlice, rng=rng)
        self._slices.add_index("service", _service_of)
        self._services.add_listener(self._service_changed)
        self._slices.add_listener(self._slice_changed)

    def not_ready(self) -> str | None:
        """Return why names of the cluster cannot be answered, None when they can."""
        return "no Services known yet" if self._zone is None else None

    async def run(self) -> None:
        """Answer until cancelled."""
        self._recall()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._services.run(), name="dns-services")
                tasks.create_task(self._slices.run(), name="dns-slices")
                tasks.create_task(self._go_live(), name="dns-live")
                tasks.create_task(self._save_changes(), name="dns-save")
                tasks.create_task(self._listener.serve(self.handle), name="dns-listen")
        finally:
            self._save()

    # -- the zone ----------------------------------------------------------------

    async def _go_live(self) -> None:
        await self._services.synced.wait()
        await self._slices.synced.wait()
        self._zone = Zone(self._record(service) for service in self._services.values())
        self._live = True
        self._dirty.set()

    def _record(self, service: Service) -> ServiceRecord:
        slices = self._slices.by_index("service", service.metadata.key)
        return service_record(service, slices)

    def _service_changed(self, old: Service | None, new: Service | None) -> None:
        if changed := new or old:
            self._refresh(changed.metadata.key)

    def _slice_changed(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for one in (old, new):
            for key in _service_of(one) if one is not None else ():
                self._refresh(key)

    def _refresh(self, key: str) -> None:
        if not self._live or self._zone is None:
            return
        service = self._services.get(key)
        if service is None:
            namespace, _, name = key.partition("/")
            self._zone.remove((namespace, name))
        else:
            self._zone.put(self._record(service))
        self._dirty.set()

    # -- last known state --------------------------------------------------------

    def _recall(self) -> None:
        raw = self._state.load()
        if raw is None:
            return
        try:
            records = msgspec.json.decode(raw, type=list[ServiceRecord])
        except msgspec.DecodeError as error:
            log.warning("last known state cannot be read: %s", error)
            return
        self._zone = Zone(records)
        log.info("recalled %d services", len(records))

    async def _save_changes(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            self._save()
            await asyncio.sleep(self._config.save_s)

    def _save(self) -> None:
        if not self._live or self._zone is None:
            return
        try:
            data = msgspec.json.encode(self._zone.records())
            if data != self._state.load():
                self._state.save(data)
        except HostError as error:
            log.warning("last known state not saved: %s", error)

    # -- queries -----------------------------------------------------------------

    async def handle(self, message: bytes, *, tcp: bool) -> bytes | None:
        """Return the reply to a message, None for silence."""
        query = parse_query(message, tcp=tcp)
        if isinstance(query, Refusal):
            return query.reply
        found = self._ask_zone(query.name, query.type)
        if found is None:
            return await self._forward(query, message, tcp=tcp)
        if found.chase is not None:
            return await self._follow(query, found)
        return build_reply(query, found)

    def _ask_zone(self, name: Name, wanted: int) -> Answer | None:
        zone = self._zone if self._zone is not None else Zone()
        found = answer(name, wanted, zone, self._domain)
        if self._zone is None and found is not None:
            return Answer(Rcode.SERVFAIL)
        return None if found is None else self._shuffled(found)

    def _shuffled(self, found: Answer) -> Answer:
        """Give each client another first address: most use no other."""
        if len(found.records) < 2:
            return found
        records = list(found.records)
        self._rng.shuffle(records)
        return Answer(found.rcode, tuple(records), found.additional, found.authority, found.chase)

    async def _forward(self, query: Query, message: bytes, *, tcp: bool) -> bytes:
        if not self._upstream.available:
            return build_reply(query, Answer(Rcode.REFUSED), authoritative=False)
        try:
            return await self._upstream.exchange(message, tcp=tcp)
        except UnavailableError as error:
            log.debug("%s: %s", ".".join(query.name), error)
            return build_reply(query, Answer(Rcode.SERVFAIL), authoritative=False)

    async def _follow(self, query: Query, found: Answer) -> bytes:
        """Resolve what an alias of ours leads to: clients expect the address beside it."""
        records: list[Record] = list(found.records)
        target: Name | None = found.chase
        for _ in range(_CHAIN):
            if target is None:
                break
            step = self._ask_zone(target, query.type)
            if step is None:
                return await self._follow_upstream(query, records, target)
            records += step.records
            found, target = step, step.chase
        else:
            return build_reply(query, Answer(Rcode.SERVFAIL, tuple(records)))
        whole = Answer(found.rcode, tuple(records), found.additional, found.authority)
        return build_reply(query, whole)

    async def _follow_upstream(
        self, query: Query, records: Iterable[Record], target: Name
    ) -> bytes:
        known = tuple(records)
        asked = build_query(self._rng.getrandbits(16), target, query.type)
        if asked is None or not self._upstream.available:
            return build_reply(query, Answer(Rcode.SERVFAIL, known))
        try:
            reply = await self._upstream.exchange(asked, tcp=query.reply_bytes > EDNS_BYTES)
        except UnavailableError as error:
            log.debug("%s: %s", ".".join(target), error)
            return build_reply(query, Answer(Rcode.SERVFAIL, known))
        rcode, extra = upstream_records(reply)
        return build_reply(query, Answer(rcode, known), extra=extra)


def _service_of(one: EndpointSlice) -> list[str]:
    name = one.metadata.labels.get(SERVICE_NAME_LABEL)
    return [f"{one.metadata.namespace}/{name}"] if name else []
