"""The replicated key-value store: MVCC over Raft, etcd's model."""
