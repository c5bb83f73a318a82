#!/usr/bin/env python3
r"""Create a Deployment through Wherry's gRPC door and watch its pods become ready.

    python examples/grpc_client.py --endpoint 127.0.0.1:6444 \
        --ca pki/ca.crt --cert pki/admin.crt --key pki/admin.key

Only gRPC and the code generated from `proto/wherry/wire/v1/cluster.proto` are used: the same
lines work in any language that gRPC has. Objects travel as JSON bytes; a refusal carries the
Kubernetes Status in the trailing metadata `wherry-status-bin`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import grpc

from wherry.wire.v1.cluster_pb2 import (
    CreateRequest,
    DeleteRequest,
    Event,
    ListRequest,
    Resource,
    WatchRequest,
)
from wherry.wire.v1.cluster_pb2_grpc import ClusterStub

DEPLOYMENTS = Resource(group="apps", version="v1", plural="deployments")
PODS = Resource(version="v1", plural="pods")


def deployment(name: str, image: str, replicas: int) -> bytes:
    """Return the object to create, as JSON."""
    labels = {"app": name}
    container = {"name": name, "image": image}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return json.dumps({"metadata": {"name": name}, "spec": spec}).encode()


def is_ready(pod: dict[str, Any]) -> bool:
    """Tell whether the pod's Ready condition is True."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def show(pod: dict[str, Any]) -> None:
    """Print one line about a pod."""
    status = pod.get("status", {})
    where = pod["spec"].get("nodeName", "-")
    word = "ready" if is_ready(pod) else status.get("phase", "Pending")
    print(f"{pod['metadata']['name']:40} {word:10} {status.get('podIP', '-'):16} {where}")


def wait_until_ready(cluster: ClusterStub, namespace: str, name: str, replicas: int) -> None:
    """List once, then follow the changes from exactly there: nothing is missed, nothing asked twice."""
    labels = f"app={name}"
    listed = cluster.List(ListRequest(resource=PODS, namespace=namespace, labels=labels))
    pods = {pod["metadata"]["name"]: pod for pod in map(json.loads, listed.items)}
    request = WatchRequest(
        resource=PODS, namespace=namespace, labels=labels, revision=listed.revision
    )
    for batch in cluster.Watch(request):
        for event in batch.events:
            if event.type == Event.BOOKMARK:
                continue
            pod = json.loads(event.object)
            show(pod)
            if event.type == Event.DELETED:
                pods.pop(pod["metadata"]["name"], None)
            else:
                pods[pod["metadata"]["name"]] = pod
        if sum(map(is_ready, pods.values())) >= replicas:
            return


def reason(error: Any) -> str:
    """Return the message of the Kubernetes Status, or gRPC's own where none was sent."""
    for key, value in error.trailing_metadata() or ():
        if key == "wherry-status-bin":
            return str(json.loads(value)["message"])
    return str(error.details())


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description="A Deployment over gRPC")
    parser.add_argument("--endpoint", default="127.0.0.1:6444", metavar="HOST:PORT")
    parser.add_argument("--ca", type=Path, required=True, help="the cluster's authority (PEM)")
    parser.add_argument("--cert", type=Path, required=True, help="client certificate (PEM)")
    parser.add_argument("--key", type=Path, required=True, help="its key (PEM)")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--name", default="hello-grpc")
    parser.add_argument("--image", default="nginx")
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--delete", action="store_true", help="delete the Deployment at the end")
    args = parser.parse_args()
    credentials = grpc.ssl_channel_credentials(
        args.ca.read_bytes(), args.key.read_bytes(), args.cert.read_bytes()
    )
    with grpc.secure_channel(args.endpoint, credentials) as channel:
        cluster = ClusterStub(channel)
        try:
            cluster.Create(
                CreateRequest(
                    resource=DEPLOYMENTS,
                    namespace=args.namespace,
                    object=deployment(args.name, args.image, args.replicas),
                )
            )
            wait_until_ready(cluster, args.namespace, args.name, args.replicas)
            print(f"{args.name}: {args.replicas} pods are ready")
            if args.delete:
                cluster.Delete(
                    DeleteRequest(resource=DEPLOYMENTS, namespace=args.namespace, name=args.name)
                )
        except grpc.RpcError as error:
            raise SystemExit(reason(error)) from error


if __name__ == "__main__":
    main()
