"""What the doors count, under kube-apiserver's names where it has one."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import REGISTRY, CollectorRegistry, Gauge
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_BOUNDS = [*map(floatToGoString, _BUCKETS), "+Inf"]


class _Times:
    """How long requests of one sort took."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * len(_BOUNDS)
        """By bucket, each without the smaller ones."""
        self.total_s = 0.0


class Metrics(Collector):
    """Requests by verb, resource, door and code; one instance for each API server.

    They are counted here and become prometheus_client's values when somebody asks, because its own
    counters cost more than all else that a door does with a request. The number of label values is
    bounded: names come from the table of kinds, codes are few.
    """

    def __init__(self, registry: CollectorRegistry | None = REGISTRY) -> None:
        self._watches = Gauge(
            "apiserver_longrunning_requests",
            "Watches, logs and tunnels that are open.",
            ["door"],
            registry=registry,
        )
        self._counts: defaultdict[tuple[str, str, tuple[str, str, str, str], int], int]
        self._counts = defaultdict(int)
        self._times: defaultdict[tuple[str, str, str], _Times] = defaultdict(_Times)
        if registry is not None:
            registry.register(self)

    def count(
        self,
        door: str,
        verb: str,
        address: tuple[str, str, str, str],
        code: int,
        seconds: float,
    ) -> None:
        """Count one answered request; `address` is (group, version, plural, subresource)."""
        self._counts[door, verb, address, code] += 1
        times = self._times[verb, address[2], door]
        times.counts[bisect_left(_BUCKETS, seconds)] += 1
        times.total_s += seconds

    def collect(self) -> Iterable[Metric]:
        """Return what was counted, as prometheus_client has it."""
        yield self._requests()
        yield self._durations()

    def _requests(self) -> CounterMetricFamily:
        family = CounterMetricFamily(
            "apiserver_request",
            "Requests answered.",
            labels=["verb", "group", "version", "resource", "subresource", "door", "code"],
        )
        for (door, verb, address, code), number in self._counts.items():
            family.add_metric([verb, *address, door, str(code)], number)
        return family

    def _durations(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            "apiserver_request_duration_seconds",
            "Time until a request was answered, or its stream began.",
            labels=["verb", "resource", "door"],
        )
        for labels, times in self._times.items():
            below = zip(_BOUNDS, accumulate(times.counts), strict=True)
            family.add_metric(labels, [(bound, float(n)) for bound, n in below], times.total_s)
        return family

    def opened(self, door: str) -> None:
        """Count a stream that begins."""
        self._watches.labels(door).inc()

    def closed(self, door: str) -> None:
        """Count a stream that ends."""
        self._watches.labels(door).dec()
