"""Generated protobuf and gRPC code: ours (v1), CRI's, containerd's events, etcd's."""
