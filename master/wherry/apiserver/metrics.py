"""What the doors count, under kube-apiserver's names where it has one."""

from collections.abc import Callable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Metrics:
    """Requests by verb, resource, door and code; one instance for each API server.

    Label children are kept here, because looking one up in prometheus_client costs more than
    counting. Their number is bounded: names come from the table of kinds, codes are few.
    """

    def __init__(self, registry: CollectorRegistry | None = REGISTRY) -> None:
        self._requests = Counter(
            "apiserver_request_total",
            "Requests answered.",
            ["verb", "group", "version", "resource", "subresource", "door", "code"],
            registry=registry,
        )
        self._seconds = Histogram(
            "apiserver_request_duration_seconds",
            "Time until a request was answered, or its stream began.",
            ["verb", "resource", "door"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._watches = Gauge(
            "apiserver_longrunning_requests",
            "Watches, logs and tunnels that are open.",
            ["door"],
            registry=registry,
        )
        self._counters: dict[tuple[str, ...], Callable[[], None]] = {}
        self._timers: dict[tuple[str, ...], Callable[[float], None]] = {}

    def count(
        self,
        door: str,
        verb: str,
        address: tuple[str, str, str, str],
        code: int,
        seconds: float,
    ) -> None:
        """Count one answered request; `address` is (group, version, plural, subresource)."""
        key = (verb, *address, door, str(code))
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._requests.labels(*key).inc
        counter()
        timed = (verb, address[2], door)
        timer = self._timers.get(timed)
        if timer is None:
            timer = self._timers[timed] = self._seconds.labels(*timed).observe
        timer(seconds)

    def opened(self, door: str) -> None:
        """Count a stream that begins."""
        self._watches.labels(door).inc()

    def closed(self, door: str) -> None:
        """Count a stream that ends."""
        self._watches.labels(door).dec()
