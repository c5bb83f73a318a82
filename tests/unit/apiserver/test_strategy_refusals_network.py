"""Services and what leads to them: a good manifest, one change to it, and what kube-apiserver says of it."""

import pytest
from strategy_cases import Object, spec, step_refused
from strategy_manifests import RULE, created, refused

ING = "networking.k8s.io/v1/Ingress"
POLICY = "networking.k8s.io/v1/NetworkPolicy"
SLICE = "discovery.k8s.io/v1/EndpointSlice"


@pytest.mark.parametrize(
    ("address", "change", "expected"),
    [
        (
            ING,
            spec(rules=None),
            ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"],
        ),
        (
            ING,
            spec(rules=[{**RULE, "host": "1.2.3.4"}]),
            ['spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address'],
        ),
        (
            ING,
            spec(
                rules=[{"http": {"paths": [{"path": "x//", "pathType": "Exact", "backend": {}}]}}]
            ),
            [
                'spec.rules[0].http.paths[0].path: Invalid value: "x//": must be an absolute path',
                "spec.rules[0].http.paths[0].path: Invalid value: \"x//\": must not contain '//'",
                'spec.rules[0].http.paths[0].backend: Invalid value: "": resource or service backend '
                "is required",
            ],
        ),
        (
            ING,
            {
                "metadata": {"annotations": {"kubernetes.io/ingress.class": "a"}},
                "spec": {"ingressClassName": "b"},
            },
            [
                'annotations.kubernetes.io/ingress.class: Invalid value: "a": must match '
                "`ingressClassName` when both are specified"
            ],
        ),
        (
            "networking.k8s.io/v1/IngressClass",
            spec(controller="nginx"),
            [
                'spec.controller: Invalid value: "nginx": must be a domain-prefixed path (such as '
                '"acme.io/foo")'
            ],
        ),
        (
            POLICY,
            spec(
                ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/9"]}}]}]
            ),
            [
                'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/9": must be a '
                "strict subset of `cidr`"
            ],
        ),
        (
            POLICY,
            spec(
                ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}]
            ),
            [
                'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a '
                "strict subset of `cidr`"
            ],
        ),
        (
            POLICY,
            spec(egress=[{"ports": [{"port": 80, "endPort": 70}]}]),
            [
                "spec.egress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal "
                "to `port`"
            ],
        ),
        (
            POLICY,
            spec(ingress=[{"from": [{}]}]),
            ["spec.ingress[0].from[0]: Required value: must specify a peer"],
        ),
        (
            "v1/Service",
            spec(externalTrafficPolicy="Local"),
            [
                'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for '
                "externally-accessible services"
            ],
        ),
        (
            "v1/Service",
            spec(loadBalancerSourceRanges=["10.0.0.0"]),
            [
                "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is "
                "'LoadBalancer'",
                'spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.0": must be a valid CIDR '
                "value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ],
        ),
        (
            "v1/Service",
            spec(
                type="LoadBalancer", ports=[{"port": 10250}]
            ),  # until 1.33 this was an agent's alone
            [],
        ),
        (
            "v1/Service",
            spec(ipFamilies=["IPv4", "IPv4", "IPv5"]),
            [
                'spec.ipFamilies[1]: Duplicate value: "IPv4"',
                'spec.ipFamilies[2]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"',
            ],
        ),
    ],
)
def test_what_is_refused(address: str, change: Object, expected: list[str]) -> None:
    assert refused(address, change) == expected


def test_the_addresses_of_a_slice_stay_of_one_type() -> None:
    slice_ = created(SLICE)
    assert step_refused(SLICE, slice_, {"addressType": "IPv6"}) == [
        'addressType: Invalid value: "IPv6": field is immutable'
    ]
