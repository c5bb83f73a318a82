"""What the doors count, under kube-apiserver's names and with its labels.

`door` is the one label that is ours. The numbers of label values are bounded: names come from the
table of kinds, codes and methods are few.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from wherry.apiserver.cache.cache import WatchCache
from wherry.apiserver.gate import Attributes
from wherry.apiserver.http.flight import Flight
from wherry.apiserver.resources import Resource

# kube-apiserver's bounds, and three for those who answer sooner than it does.
_BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0),
    *(4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0),
)
_BOUNDS: Final = [*map(floatToGoString, _BUCKETS), "+Inf"]
_LABELS: Final = ["verb", "group", "version", "resource", "subresource", "scope", "component"]
_COMPONENT: Final = "apiserver"
_CONNECTS: Final = ("attach", "exec", "portforward", "proxy")
_METHODS: Final = {"create": "POST", "update": "PUT"}
NO_RESOURCE: Final = ("", "", "", "", "")
_SOMETHING: Final = Attributes("")

Address = tuple[str, str, str, str, str]
"""(group, version, plural, subresource, scope), as `address_of` returns it."""


def address_of(asked: Attributes) -> Address:
    """Return what of a request for a resource is counted; the scope is upstream's `CleanScope`."""
    if not asked.resource:
        return NO_RESOURCE
    scope = "namespace" if asked.namespace else "cluster"
    if asked.name or asked.verb == "create":
        scope = "resource"
    return asked.group, asked.version, asked.resource, asked.subresource, scope


class _Answers:
    """The requests of one sort: how long they took, and how they ended."""

    __slots__ = ("codes", "counts", "total_s")

    def __init__(self) -> None:
        self.codes = Counter[int]()
        self.counts = [0] * len(_BOUNDS)
        """By bucket, each without the smaller ones."""
        self.total_s = 0.0


class Metrics(Collector):
    """Requests by verb, resource, scope, door and code; one instance for each API server.

    They are counted here and become prometheus_client's values when somebody asks, because its own
    counters cost more than all else that a door does with a request.
    """

    def __init__(self, registry: CollectorRegistry | None = REGISTRY) -> None:
        self._answers: dict[tuple[str, str, Address], _Answers] = {}
        self._open = Counter[tuple[str, str, Address]]()
        self.registry = registry
        if registry is not None:
            registry.register(self)

    def count(self, door: str, verb: str, address: Address, code: int, seconds: float) -> None:
        """Count one answered request; verbs are authorization's, and `apply`."""
        key = (door, verb, address)
        answers = self._answers.get(key)
        if answers is None:
            answers = self._answers[key] = _Answers()
        answers.codes[code] += 1
        answers.counts[bisect_left(_BUCKETS, seconds)] += 1
        answers.total_s += seconds

    def opened(self, door: str, asked: Attributes = _SOMETHING) -> None:
        """Count a stream that begins."""
        self._open[door, asked.verb, address_of(asked)] += 1

    def closed(self, door: str, asked: Attributes = _SOMETHING) -> None:
        """Count a stream that ends."""
        self._open[door, asked.verb, address_of(asked)] -= 1

    def collect(self) -> Iterable[Metric]:
        """Return what was counted, as prometheus_client has it."""
        yield self._requests()
        yield self._durations("duration", "Seconds until a request was answered.", ())
        yield self._durations(
            "sli_duration",
            "The same, without what lasts as long as it likes.",
            ("CONNECT", "WATCH"),
        )
        family = GaugeMetricFamily(
            "apiserver_longrunning_requests",
            "Watches, logs and tunnels that are open.",
            labels=[*_LABELS, "door"],
        )
        for (door, verb, address), number in self._open.items():
            family.add_metric([*_labels(verb, address), door], number)
        yield family

    def _requests(self) -> CounterMetricFamily:
        family = CounterMetricFamily(
            "apiserver_request", "Requests answered.", labels=[*_LABELS, "door", "code"]
        )
        for (door, verb, address), answers in self._answers.items():
            for code, number in answers.codes.items():
                family.add_metric([*_labels(verb, address), door, str(code)], number)
        return family

    def _durations(self, name: str, about: str, without: Iterable[str]) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            f"apiserver_request_{name}_seconds", about, labels=[*_LABELS, "door"]
        )
        for (door, verb, address), answers in self._answers.items():
            labels = _labels(verb, address)
            if labels[0] in without:
                continue
            below = zip(_BOUNDS, accumulate(answers.counts), strict=True)
            buckets = [(bound, float(n)) for bound, n in below]
            family.add_metric([*labels, door], buckets, answers.total_s)
        return family


def _labels(verb: str, address: Address) -> list[str]:
    name = _METHODS.get(verb, verb.upper())
    if address[3] in _CONNECTS:
        name = "CONNECT"
    return [name, *address, _COMPONENT]


class Levels(Collector):
    """What there is at the moment when somebody asks: requests being answered, objects stored."""

    def __init__(self, flight: Flight, caches: Mapping[Resource, WatchCache]) -> None:
        self._flight = flight
        self._caches = caches

    def collect(self) -> Iterable[Metric]:
        """Return the levels, as prometheus_client has them."""
        inflight = GaugeMetricFamily(
            "apiserver_current_inflight_requests",
            "Requests being answered, but for those that last as long as they like.",
            labels=["request_kind"],
        )
        inflight.add_metric(["readOnly"], self._flight.reads.count)
        inflight.add_metric(["mutating"], self._flight.writes.count)
        yield inflight
        stored = GaugeMetricFamily(
            "apiserver_storage_objects", "Objects stored, by kind.", labels=["resource"]
        )
        for resource, cache in self._caches.items():
            stored.add_metric([resource.kind.qualified], cache.count())
        yield stored
