"""Our own kinds, in the form of the generated definitions.

`SubnetLease` is flannel's lease of a pod subnet to a node (its JSON below
/coreos.com/network/subnets, plus metadata, the node and an expiration), `NetworkConfig`
flannel's `net-conf.json`. Their fields stand at the top level and keep flannel's capital
letters, so that a flanneld reading the store finds what it knows.
"""

from typing import Any

GROUP = "wherry.io"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_STRING: dict[str, Any] = {"type": "string"}
_INT32: dict[str, Any] = {"type": "integer", "format": "int32"}
_BOOL: dict[str, Any] = {"type": "boolean"}


def _described(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return schema | {"description": description}


def _kind(kind: str, description: str, properties: dict[str, Any]) -> dict[str, Any]:
    head = {
        "apiVersion": _described(_STRING, "wherry.io/v1"),
        "kind": _described(_STRING, kind),
        "metadata": {"$ref": f"{_META}ObjectMeta", "description": "Standard metadata."},
    }
    return {
        "type": "object",
        "description": description,
        "properties": head | properties,
        "x-kubernetes-group-version-kind": [{"group": GROUP, "version": "v1", "kind": kind}],
    }


def _list(kind: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": f"A list of {kind} objects.",
        "properties": {
            "apiVersion": _described(_STRING, "wherry.io/v1"),
            "kind": _described(_STRING, f"{kind}List"),
            "metadata": {"$ref": f"{_META}ListMeta", "description": "Standard list metadata."},
            "items": {
                "type": "array",
                "items": {"$ref": f"io.wherry.v1.{kind}"},
                "description": "The objects.",
            },
        },
        "required": ["items"],
        "x-kubernetes-group-version-kind": [
            {"group": GROUP, "version": "v1", "kind": f"{kind}List"}
        ],
    }


DEFINITIONS: dict[str, dict[str, Any]] = {
    "io.wherry.v1.SubnetLease": _kind(
        "SubnetLease",
        "A pod subnet leased to a node; the name is the subnet with '-' for '/'.",
        {
            "PublicIP": _described(_STRING, "The node's address on the underlay."),
            "BackendType": _described(_STRING, "vxlan or host-gw."),
            "BackendData": {
                "$ref": "io.wherry.v1.BackendData",
                "description": "What peers need to reach the node.",
            },
            "Expiration": {
                "$ref": f"{_META}Time",
                "description": "When the lease ends unless it is renewed.",
            },
            "node": _described(_STRING, "The name of the node."),
        },
    ),
    "io.wherry.v1.BackendData": {
        "type": "object",
        "description": "Data of the vxlan backend.",
        "properties": {
            "VNI": _described(_INT32, "VXLAN network identifier."),
            "VtepMAC": _described(_STRING, "MAC address of the node's VXLAN device."),
        },
    },
    "io.wherry.v1.NetworkConfig": _kind(
        "NetworkConfig",
        "The overlay network's configuration; there is one object, named config.",
        {
            "Network": _described(_STRING, "CIDR of the whole pod network."),
            "SubnetLen": _described(_INT32, "Prefix length of a node's subnet."),
            "SubnetMin": _described(_STRING, "The first subnet that may be leased."),
            "SubnetMax": _described(_STRING, "The last subnet that may be leased."),
            "Backend": {
                "$ref": "io.wherry.v1.NetworkBackend",
                "description": "How packets travel between nodes.",
            },
        },
    ),
    "io.wherry.v1.NetworkBackend": {
        "type": "object",
        "description": "Backend and its options.",
        "properties": {
            "Type": _described(_STRING, "vxlan or host-gw."),
            "VNI": _described(_INT32, "VXLAN network identifier."),
            "Port": _described(_INT32, "UDP port of VXLAN packets."),
            "MTU": _described(_INT32, "MTU of the underlay; 0 takes the interface's."),
            "DirectRouting": _described(_BOOL, "Route directly where nodes share a link."),
            "GBP": _described(_BOOL, "Group based policy."),
            "Learning": _described(_BOOL, "Learn MAC addresses from traffic."),
            "MacPrefix": _described(_STRING, "Prefix of generated MAC addresses."),
        },
    },
    "io.wherry.v1.SubnetLeaseList": _list("SubnetLease"),
    "io.wherry.v1.NetworkConfigList": _list("NetworkConfig"),
}
