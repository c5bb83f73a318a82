"""The native door: `wherry.wire.v1.Cluster` on grpc.aio, over the same verbs as REST.

TLS with a client certificate is required: gRPC for Python can require one or ignore it, but
not leave it to the client (ADR 0020). A bearer token in the metadata is the more specific
word: it then says who asks. Refusals carry the Kubernetes Status in the trailing metadata.
Server reflection and `grpc.health.v1` are on.

`service` performs calls, `message` says what their messages mean, `unreadable` refuses what is
none, `server` listens.
"""

from wherry.apiserver.grpc.server import GrpcServer
from wherry.apiserver.grpc.service import ClusterService

__all__ = ["ClusterService", "GrpcServer"]
