"""The part of etcd's v3 API that the store serves: wire-compatible, written from its numbers."""
