"""What can be set about the registry; the defaults are those of kube-apiserver."""

from dataclasses import dataclass, field

from wherry.apiserver.tokens import TokenConfig


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """Limits and ranges.

    `dns_ip` and the kubernetes Service (first address of `service_cidr`) are never handed
    out to anybody else.
    """

    service_cidr: str = "10.96.0.0/12"
    node_ports: tuple[int, int] = (30000, 32767)
    dns_ip: str = "10.96.0.10"
    tokens: TokenConfig = field(default_factory=TokenConfig)
    root_ca: str = ""
    """The cluster's authority, PEM, that a new namespace is given; "" for none."""
    event_ttl_s: int = 3600
    ring_events: int = 10_000
    ring_bytes: int = 16 << 20
    queue_events: int = 10_000
    bookmark_s: tuple[float, float] = (30.0, 60.0)
    """Bookmarks are sent after a random time in this interval, so that not all clients wake at once."""
    compact_s: float = 300.0
    """The history that is kept, for continue tokens and watches, is one to two times as long."""
    fresh_timeout_s: float = 3.0
    """How long a read waits for the watch cache to reach the revision it needs."""
