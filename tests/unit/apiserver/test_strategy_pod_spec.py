"""What pods say about all their containers, and their volumes: what is refused, word for word."""

import copy

import pytest
from strategy_cases import NAME_PART, SUBDOMAIN, Object, cut
from strategy_pods import pod, refused

from wherry.apiserver.strategy import STRATEGIES


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (
            pod(restartPolicy="Sometimes"),
            [
                'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", '
                '"OnFailure", "Never"'
            ],
        ),
        (
            pod(volumes=[{"name": "a"}, {"name": "a"}]),
            ['spec.volumes[1].name: Duplicate value: "a"'],
        ),
        (
            pod(volumes=[{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}]),
            ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            pod(volumes=[{"name": "a", "configMap": {"items": [{"key": "k", "path": "/x"}]}}]),
            [
                "spec.volumes[0].configMap.name: Required value",
                'spec.volumes[0].configMap.items[0].path: Invalid value: "/x": must be a relative path',
            ],
        ),
        (
            pod(tolerations=[{"key": "a", "operator": "Exists", "value": "b"}]),
            [
                'spec.tolerations[0].operator: Invalid value: "b": value must be empty when '
                "`operator` is 'Exists'"
            ],
        ),
        (
            pod(tolerations=[{"key": "a", "tolerationSeconds": 5}]),
            [
                "spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when "
                "`tolerationSeconds` is set"
            ],
        ),
        (
            pod(
                affinity={
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{"key": "a", "operator": "In"}]}
                            ]
                        }
                    }
                }
            ),
            [
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."
                "nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified "
                "when `operator` is 'In' or 'NotIn'"
            ],
        ),
        (
            pod(
                affinity={
                    "podAntiAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"weight": 0, "podAffinityTerm": {}}
                        ]
                    }
                }
            ),
            [
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]."
                "weight: Invalid value: 0: must be in the range 1-100",
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]."
                "podAffinityTerm.topologyKey: Required value: can not be empty",
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]."
                'podAffinityTerm.topologyKey: Invalid value: "": name part must be non-empty',
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]."
                f'podAffinityTerm.topologyKey: Invalid value: "": {NAME_PART}',
            ],
        ),
        (
            pod(terminationGracePeriodSeconds=-1),  # counts as 1
            [],
        ),
        (
            pod(dnsPolicy="None"),
            ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
        ),
        (
            pod(
                dnsConfig={
                    "nameservers": ["1.1.1.1", "here", "::1", "8.8.8.8"],
                    "searches": ["_a.b."],
                }
            ),
            [
                'spec.dnsConfig.nameservers: Invalid value: ["1.1.1.1","here","::1","8.8.8.8"]: must '
                "not have more than 3 nameservers",
                'spec.dnsConfig.nameservers[1]: Invalid value: "here": must be a valid IP address, '
                "(e.g. 10.9.8.7 or 2001:db8::ffff)",
            ],
        ),
        (
            pod(securityContext={"runAsUser": -1, "supplementalGroups": [1 << 31], "fsGroup": 1}),
            [
                "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and "
                "2147483647, inclusive",
                "spec.securityContext.supplementalGroups[0]: Invalid value: 2147483648: must be "
                "between 0 and 2147483647, inclusive",
            ],
        ),
        (
            pod(securityContext={"seccompProfile": {"type": "Localhost"}}),
            [
                "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set "
                "when seccomp type is Localhost"
            ],
        ),
        (
            pod(
                volumes=[
                    {"name": "n", "nfs": {"path": "p"}},
                    {"name": "h", "hostPath": {"path": "/a/../b", "type": "Door"}},
                    {"name": "i", "iscsi": {"targetPortal": "p", "iqn": "x", "lun": 300}},
                    {"name": "e", "ephemeral": {}},
                    {"name": "c", "csi": {}},
                ]
            ),
            [
                "spec.volumes[0].nfs.server: Required value",
                'spec.volumes[0].nfs.path: Invalid value: "p": must be an absolute path',
                "spec.volumes[1].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
                'spec.volumes[1].hostPath.type: Unsupported value: "Door": supported values: "", '
                '"BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", '
                '"FileOrCreate", "Socket"',
                'spec.volumes[2].iscsi.iqn: Invalid value: "x": must be valid format starting with '
                "iqn, eui, or naa",
                "spec.volumes[2].iscsi.lun: Invalid value: 300: must be between 0 and 255, inclusive",
                "spec.volumes[3].ephemeral.volumeClaimTemplate: Required value",
                "spec.volumes[4].csi.driver: Required value",
                f'spec.volumes[4].csi.driver: Invalid value: "": {SUBDOMAIN}',
            ],
        ),
        (
            pod(
                volumes=[
                    {
                        "name": "p",
                        "projected": {
                            "sources": [
                                {},
                                {"configMap": {"name": "a", "items": [{"key": "k", "path": "x"}]}},
                                {"serviceAccountToken": {"path": "x", "expirationSeconds": 5}},
                                {"secret": {"name": "b", "items": [{"key": "k", "path": "x"}]}},
                            ]
                        },
                    }
                ],
                serviceAccountName="a",
            ),
            [
                "spec.volumes[0].projected.sources[2].serviceAccountToken.expirationSeconds: Invalid "
                "value: 5: may not specify a duration less than 10 minutes",
                'spec.volumes[0].projected: Invalid value: "b": conflicting duplicate paths',
            ],
        ),
        (
            pod(
                topologySpreadConstraints=[
                    {
                        "maxSkew": 0,
                        "topologyKey": "z",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "minDomains": 2,
                    },
                    {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway"},
                ]
            ),
            [
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than "
                "zero",
                "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate "
                'value: "{z, ScheduleAnyway}"',
                "spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use "
                "minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
            ],
        ),
        (
            pod(hostAliases=[{"ip": "x", "hostnames": ["a_b"]}], readinessGates=[{}]),
            [
                'spec.readinessGates[0].conditionType: Invalid value: "": name part must be non-empty',
                f'spec.readinessGates[0].conditionType: Invalid value: "": {NAME_PART}',
                'spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. '
                "10.9.8.7 or 2001:db8::ffff)",
                f'spec.hostAliases[0].hostnames[0]: Invalid value: "a_b": {SUBDOMAIN}',
            ],
        ),
        (
            pod(hostPID=True, shareProcessNamespace=True, activeDeadlineSeconds=0),
            [
                "spec.securityContext.shareProcessNamespace: Invalid value: true: "
                "ShareProcessNamespace and HostPID cannot both be enabled",
                "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, "
                "inclusive",
            ],
        ),
        (
            pod(nodeName="n", schedulingGates=[{"name": "a.b/c"}, {"name": "a.b/c"}]),
            [
                'spec.schedulingGates[1]: Duplicate value: "a.b/c"',
                "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
            ],
        ),
    ],
)
def test_pods_that_are_refused(obj: Object, expected: list[str]) -> None:
    assert refused(obj) == expected


def test_what_only_pods_are_refused() -> None:
    spec: Object = {
        "containers": [{"name": "c", "image": " i "}],
        "volumes": [
            {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
        ],
    }
    template: Object = {"metadata": {"name": "t"}, "template": copy.deepcopy({"spec": spec})}
    strategy = STRATEGIES["v1", "PodTemplate"]
    strategy.default(template)
    assert strategy.validate(template) == []
    expected = [
        "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be",
        'spec.containers[0].image: Invalid value: " i ": must not have leading',
    ]
    assert cut(refused(pod(**spec)), expected) == expected
