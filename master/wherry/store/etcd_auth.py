"""etcd's Auth service: refused, in words.

Who may use the store is decided by the client's certificate and its role alone; there are no
passwords, tokens or roles inside of the store. UNIMPLEMENTED is also what an etcd that does
not know a method answers, so that tools take it for what it is.
"""

from typing import Any, Final

import grpc

from wherry.store.etcd_door import Context, Door
from wherry.wire.etcd import auth_pb2

WHY: Final = (
    "etcdserver: authentication is not enabled: the client's certificate decides who may use "
    "this store"
)
METHODS: Final = tuple(
    method.name for method in auth_pb2.DESCRIPTOR.services_by_name["Auth"].methods
)


def add_auth(door: Door, server: grpc.aio.Server) -> None:
    """Serve the Auth service: every method of it says why not."""

    async def refuse(_request: auth_pb2.AuthAnyRequest, context: Context) -> Any:
        await door.authorize(context)
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, WHY)

    handler = grpc.unary_unary_rpc_method_handler(
        refuse, auth_pb2.AuthAnyRequest.FromString, auth_pb2.AuthNoResponse.SerializeToString
    )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("etcdserverpb.Auth", dict.fromkeys(METHODS, handler))]
    )
