"""Our own gRPC API: `cluster.proto`."""
