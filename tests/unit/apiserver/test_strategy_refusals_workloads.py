"""Workloads, their autoscalers and budgets: a good manifest, one change to it, and what kube-apiserver says of it."""

import pytest
from strategy_cases import Object, cut, spec, step_refused
from strategy_manifests import created, refused

DS = "apps/v1/DaemonSet"
STS = "apps/v1/StatefulSet"
HPA = "autoscaling/v2/HorizontalPodAutoscaler"
JOB = "batch/v1/Job"
CRON = "batch/v1/CronJob"
PDB = "policy/v1/PodDisruptionBudget"


@pytest.mark.parametrize(
    ("address", "change", "expected"),
    [
        (
            DS,
            spec(updateStrategy={"rollingUpdate": {"maxUnavailable": 0}}),
            [
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when "
                "maxSurge is 0"
            ],
        ),
        (
            DS,
            spec(updateStrategy={"type": "Sometimes"}),
            [
                'spec.updateStrategy: Unsupported value: {"type":"Sometimes"}: supported values: '
                '"RollingUpdate", "OnDelete"'
            ],
        ),
        (
            DS,
            spec(selector={"matchLabels": None}),
            ["spec.selector: Invalid value: {}: empty selector is invalid for daemonset"],
        ),
        (
            STS,
            spec(podManagementPolicy="Chaotic"),
            [
                "spec.podManagementPolicy: Invalid value: \"Chaotic\": must be 'OrderedReady' or "
                "'Parallel'"
            ],
        ),
        (
            STS,
            spec(updateStrategy={"rollingUpdate": {"partition": -1}}),
            [
                "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater "
                "than or equal to 0"
            ],
        ),
        (
            HPA,
            spec(minReplicas=5),
            ["spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"],
        ),
        (
            HPA,
            spec(maxReplicas=0),
            [
                "spec.maxReplicas: Invalid value: 0: must be greater than 0",
                "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
            ],
        ),
        (
            HPA,
            spec(metrics=[{"type": "Resource"}]),
            [
                "spec.metrics[0].resource: Required value: must populate information for the given "
                "metric source"
            ],
        ),
        (
            HPA,
            spec(scaleTargetRef={"kind": None, "name": "a/b"}),
            [
                "spec.scaleTargetRef.kind: Required value",
                "spec.scaleTargetRef.name: Invalid value: \"a/b\": may not contain '/'",
            ],
        ),
        (
            JOB,
            spec(parallelism=-1),
            ["spec.parallelism: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            JOB,
            spec(template={"spec": {"restartPolicy": "Always"}}),
            [
                'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'
            ],
        ),
        (
            JOB,
            spec(template={"spec": {"restartPolicy": "Sometimes"}}),
            [
                'spec.template.spec.restartPolicy: Unsupported value: "Sometimes": supported values: '
                '"Always", "OnFailure", "Never"',
                'spec.template.spec.restartPolicy: Unsupported value: "Sometimes": supported values: '
                '"OnFailure", "Never"',
            ],
        ),
        (
            JOB,
            spec(completionMode="Indexed"),
            [],
        ),
        (
            JOB,
            spec(backoffLimitPerIndex=1),
            ["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
        ),
        (
            CRON,
            spec(schedule="61 * * * *"),
            [
                'spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61'
            ],
        ),
        (
            CRON,
            spec(schedule="* * *"),
            [
                'spec.schedule: Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]',
            ],
        ),
        (CRON, spec(schedule=""), ["spec.schedule: Required value"]),
        (
            CRON,
            spec(schedule="TZ=UTC * * * * *"),
            [
                'spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in '
                "schedule, use timeZone field instead"
            ],
        ),
        (
            CRON,
            spec(timeZone="Local"),
            [
                'spec.timeZone: Invalid value: "Local": timeZone must be an explicit time zone as '
                "defined in https://www.iana.org/time-zones"
            ],
        ),
        (
            CRON,
            spec(concurrencyPolicy="Maybe"),
            [
                'spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", '
                '"Forbid", "Replace"'
            ],
        ),
        (
            PDB,
            spec(maxUnavailable=1),
            [
                'spec: Invalid value: {"minAvailable":1,"selector":{},"maxUnavailable":1}: '
                "minAvailable and maxUnavailable cannot be both set"
            ],
        ),
        (
            PDB,
            spec(minAvailable="101%"),
            ['spec.minAvailable: Invalid value: "101%": must not be greater than 100%'],
        ),
        (
            DS,
            spec(updateStrategy={"rollingUpdate": {"maxUnavailable": 1, "maxSurge": "10%"}}),
            [
                'spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: "10%": may not be set '
                "when maxUnavailable is non-zero"
            ],
        ),
        (DS, spec(updateStrategy={"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}), []),
    ],
)
def test_what_is_refused(address: str, change: Object, expected: list[str]) -> None:
    assert refused(address, change) == expected


@pytest.mark.parametrize(
    ("address", "change", "expected"),
    [
        (DS, spec(selector={"matchLabels": {"b": "c"}}), ["spec.selector: Invalid value: "]),
        (STS, spec(replicas=4, template={"spec": {"hostNetwork": True}}), []),
        (
            STS,
            spec(serviceName="other"),
            ["spec: Forbidden: updates to statefulset spec for fields"],
        ),
        (JOB, spec(parallelism=4), []),
        (JOB, spec(completions=4), ["spec.completions: Invalid value: 4: field is immutable"]),
        (
            JOB,
            spec(template={"spec": {"restartPolicy": "OnFailure"}}),
            ["spec.template: Invalid value: "],
        ),
    ],
)
def test_what_may_not_change(address: str, change: Object, expected: list[str]) -> None:
    found = step_refused(address, created(address), change)
    assert cut(found, expected) == expected
