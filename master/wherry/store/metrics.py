"""What a store tells Prometheus; the names are etcd's where it has one."""

import functools
from collections.abc import Callable
from typing import Final

from prometheus_client import Gauge

from wherry.store.replica import Replica

_GAUGES: Final[tuple[tuple[str, str, Callable[[Replica], float]], ...]] = (
    ("etcd_server_has_leader", "1 if a leader is known.", lambda r: r.node.leader is not None),
    ("etcd_server_is_leader", "1 if this member leads.", lambda r: r.node.is_leader),
    ("etcd_server_proposals_committed_total", "Committed entries.", lambda r: r.node.commit),
    ("etcd_server_proposals_applied_total", "Applied entries.", lambda r: r.node.applied),
    ("etcd_debugging_mvcc_current_revision", "Revision.", lambda r: r.state.revision),
    ("etcd_debugging_mvcc_compact_revision", "Compacted.", lambda r: r.state.compact_revision),
    ("etcd_debugging_mvcc_keys_total", "Keys that exist.", lambda r: r.state.live_count),
    ("etcd_mvcc_db_total_size_in_use_in_bytes", "Keys, values.", lambda r: r.state.size_bytes),
    ("etcd_server_quota_backend_bytes", "Quota.", lambda r: r.quota.backend_bytes),
    ("etcd_debugging_mvcc_watcher_total", "Watchers.", lambda r: len(r.hub)),
    ("wherry_store_raft_term", "Raft's current term.", lambda r: r.node.term),
    ("wherry_store_raft_log_entries", "Entries kept in the log.", lambda r: r.node.log_length),
    ("wherry_store_leases", "Leases that exist.", lambda r: len(r.state.leases)),
)


def register(replica: Replica) -> None:
    """Make `/metrics` of this process show a replica."""
    for name, text, read in _GAUGES:
        Gauge(name, text).set_function(functools.partial(read, replica))
