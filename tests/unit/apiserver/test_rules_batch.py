"""Job and CronJob: upstream's rules as cases."""

import copy
from typing import Any

import pytest
from strategy_cases import created, cut, refused, spec, step_refused

from wherry.apiserver.strategy.job_policy import IndexesError, parse_indexes

JOB, CRON = "batch/v1/Job", "batch/v1/CronJob"
POD = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}
MANIFEST: dict[str, Any] = {"spec": {"template": {"spec": POD}}}
CRON_MANIFEST: dict[str, Any] = {
    "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": {"spec": POD}}}}
}
LESS = "must be greater than or equal to 0"
MANY = "when completions are above 100000 and used with backoff limit per index"


def indexed(**fields: Any) -> dict[str, Any]:
    return {"spec": {"completionMode": "Indexed", "completions": 5, "parallelism": 5, **fields}}


def failing(*rules: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"spec": {"podFailurePolicy": {"rules": list(rules)}, **fields}}


def succeeding(*rules: dict[str, Any]) -> dict[str, Any]:
    return indexed(successPolicy={"rules": list(rules)})


RULES, SUCCESS = "spec.podFailurePolicy.rules", "spec.successPolicy.rules"
CODES = {"operator": "In", "values": [1]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (spec(), []),
        (spec(parallelism=-1, completions=-1, activeDeadlineSeconds=-1, backoffLimit=-1,
              ttlSecondsAfterFinished=-1),
         [f"spec.{field}: Invalid value: -1: {LESS}" for field in (
             "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit",
             "ttlSecondsAfterFinished")]),
        (spec(completionMode="Sorted"),
         ['spec.completionMode: Unsupported value: "Sorted": supported values: "NonIndexed", '
          '"Indexed"']),
        (spec(backoffLimitPerIndex=1, maxFailedIndexes=1),
         ["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
          "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode"]),
        (indexed(completions=None),
         ["spec.completions: Required value: when completion mode is Indexed"]),
        (indexed(parallelism=100_001),
         ["spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when "
          "completion mode is Indexed"]),
        (indexed(maxFailedIndexes=1),
         ["spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified"]),
        (indexed(maxFailedIndexes=6, backoffLimitPerIndex=0),
         ["spec.maxFailedIndexes: Invalid value: 6: must be less than or equal to completions"]),
        (indexed(completions=200_000, maxFailedIndexes=100_001, backoffLimitPerIndex=0),
         ["spec.maxFailedIndexes: Invalid value: 100001: must be less than or equal to 100000",
          f"spec.maxFailedIndexes: Invalid value: 100001: must be less than or equal to 10000 {MANY}"]),
        (indexed(completions=100_001, backoffLimitPerIndex=0, parallelism=10_001),
         ["spec.maxFailedIndexes: Required value: must be specified when completions is above "
          "100000",
          f"spec.parallelism: Invalid value: 10001: must be less than or equal to 10000 {MANY}"]),
        (spec(managedBy="example.com/kueue"), []),
        (spec(managedBy=""), ["spec.managedBy: Required value"]),
        (spec(managedBy="kueue"),
         ['spec.managedBy: Invalid value: "kueue": must be a domain-prefixed path (such as '
          '"acme.io/foo")']),
        (spec(managedBy="example.com/" + "a" * 60),
         ["spec.managedBy: Too long: may not be more than 63 bytes"]),
        (spec(podReplacementPolicy="Soon"),
         ['spec.podReplacementPolicy: Unsupported value: "Soon": supported values: "Failed", '
          '"TerminatingOrFailed"']),
        (failing(podReplacementPolicy="TerminatingOrFailed"),
         ['spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: '
          '"Failed"']),
        (failing({"action": "Count", "onExitCodes": CODES},
                 template={"spec": {"restartPolicy": "OnFailure"}}),
         ['spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported '
          "when podFailurePolicy is specified"]),
        (spec(template={"spec": {"restartPolicy": None}}),
         ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"']),
        (spec(template=None),
         ["spec.template.spec.containers: Required value",
          'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"']),
        (indexed() | {"metadata": {"name": "a" * 62}},
         [f'metadata.name: Invalid value: "{"a" * 62}": will not able to create pod with invalid '
          f"DNS label: {'a' * 62}-4"]),
        (indexed() | {"metadata": {"name": "a" * 61}}, []),
        (spec() | {"metadata": {"name": "a.b"}}, []),
        (spec(manualSelector=True),
         ["spec.selector: Required value",
          "spec.template.metadata.labels: Invalid value: null: `selector` does not match template "
          "`labels`"]),
        (spec(manualSelector=True, selector={"matchLabels": {"a": "b"}}),
         ["spec.template.metadata.labels: Invalid value: null: `selector` does not match template "
          "`labels`"]),
        (spec(template={"metadata": {"labels": {"job-name": "other"}}}),
         ["spec.template.metadata.labels[job-name]: Invalid value: "
          '{"job-name":"other","controller-uid":"u-1","batch.kubernetes.io/controller-uid":"u-1",'
          '"batch.kubernetes.io/job-name":"x"}: must be \'x\'']),
    ],
)  # fmt: skip
def test_jobs(change: dict[str, Any], expected: list[str]) -> None:
    assert refused(JOB, MANIFEST, change) == expected


def test_a_jobs_selector_is_its_uid_also_beside_what_was_selected() -> None:
    job = created(JOB, MANIFEST, spec(selector={"matchLabels": {"job-name": "x"}}))
    uid = {"batch.kubernetes.io/controller-uid": "u-1"}
    assert job["spec"]["selector"] == {"matchLabels": {"job-name": "x", **uid}}
    assert job["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"]
    [text] = refused(JOB, MANIFEST, spec(selector={"matchLabels": uid | {"job-name": "y"}}))[:1]
    assert text.startswith("spec.template.metadata.labels: Invalid value:")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (failing({"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0, 1, 42],
                                                        "containerName": "c"}}), []),
        (failing({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}), []),
        (failing({"onExitCodes": CODES}),
         [f'{RULES}[0].action: Required value: valid values: ["Count" "FailIndex" "FailJob" '
          '"Ignore"]']),
        (failing({"action": "Explode", "onExitCodes": CODES}),
         [f'{RULES}[0].action: Unsupported value: "Explode": supported values: "Count", '
          '"FailIndex", "FailJob", "Ignore"']),
        (failing({"action": "FailIndex", "onExitCodes": CODES}),
         [f'{RULES}[0].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be '
          "set"]),
        (failing({"action": "Count"}),
         [f"{RULES}[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is "
          "required"]),
        (failing({"action": "Count", "onExitCodes": CODES, "onPodConditions": [{"type": "A"}]}),
         [f"{RULES}[0]: Invalid value: specifying both OnExitCodes and OnPodConditions is not "
          "supported"]),
        (failing({"action": "Count", "onExitCodes": {"operator": "In", "values": []}}),
         [f"{RULES}[0].onExitCodes.values: Invalid value: []: at least one value is required"]),
        (failing({"action": "Count", "onExitCodes": {"values": [1]}}),
         [f'{RULES}[0].onExitCodes.operator: Required value: valid values: ["In" "NotIn"]']),
        (failing({"action": "Count", "onExitCodes": {"operator": "Near", "values": [1]}}),
         [f'{RULES}[0].onExitCodes.operator: Unsupported value: "Near": supported values: "In", '
          '"NotIn"']),
        (failing({"action": "Count", "onExitCodes": CODES | {"containerName": "d"}}),
         [f'{RULES}[0].onExitCodes.containerName: Invalid value: "d": must be one of the container '
          "or initContainer names in the pod template"]),
        (failing({"action": "Count", "onExitCodes": {"operator": "In", "values": [3, 3, 0]}}),
         [f"{RULES}[0].onExitCodes.values[1]: Duplicate value: 3",
          f"{RULES}[0].onExitCodes.values[2]: Invalid value: 0: must not be 0 for the In operator",
          f"{RULES}[0].onExitCodes.values: Invalid value: [3,3,0]: must be ordered"]),
        (failing({"action": "Count", "onExitCodes": {"operator": "In",
                                                     "values": list(range(1, 257))}}),
         [f"{RULES}[0].onExitCodes.values: Too many: 256: must have at most 255 items"]),
        (failing({"action": "Count", "onPodConditions": [{"type": "A", "status": "Maybe"}]}),
         [f'{RULES}[0].onPodConditions[0].status: Unsupported value: "Maybe": supported values: '
          '"False", "True", "Unknown"']),
        (failing({"action": "Count", "onPodConditions": [{"type": "A"}] * 21}),
         [f"{RULES}[0].onPodConditions: Too many: 21: must have at most 20 items"]),
        (failing(*[{"action": "Count", "onExitCodes": CODES}] * 21),
         [f"{RULES}: Too many: 21: must have at most 20 items"]),
        (spec(successPolicy={"rules": []}),
         ['spec.successPolicy: Invalid value: {"rules":[]}: requires indexed completion mode']),
        (succeeding(),
         [f"{SUCCESS}: Required value: at least one rules must be specified when the successPolicy "
          "is specified"]),
        (succeeding({"succeededIndexes": "0-3"}, {"succeededCount": 5}), []),
        (succeeding({}),
         [f"{SUCCESS}[0]: Required value: at least one of succeededCount or succeededIndexes must "
          "be specified"]),
        (succeeding({"succeededCount": -1}),
         [f"{SUCCESS}[0].succeededCount: Invalid value: -1: {LESS}"]),
        (succeeding({"succeededCount": 6}),
         [f"{SUCCESS}[0].succeededCount: Invalid value: 6: must be less than or equal to 5 (the "
          "number of specified completions)"]),
        (succeeding({"succeededCount": 3, "succeededIndexes": "0,4"}),
         [f"{SUCCESS}[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the "
          "number of indexes in the specified succeededIndexes field)"]),
        (succeeding({"succeededIndexes": "5"}),
         [f'{SUCCESS}[0].succeededIndexes: Invalid value: "5": error parsing succeededIndexes: too '
          'large index: "5"']),
        (succeeding(*[{"succeededCount": 1}] * 21),
         [f"{SUCCESS}: Too many: 21: must have at most 20 items"]),
    ],
)  # fmt: skip
def test_policies(change: dict[str, Any], expected: list[str]) -> None:
    assert refused(JOB, MANIFEST, change) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("3", [(3, 3)]),
        ("0,2-4,9", [(0, 0), (2, 4), (9, 9)]),
        ("+1", [(1, 1)]),
        ("3,3", "non-increasing order, previous: 3, current: 3"),
        ("2-4,3", "non-increasing order, previous: 4, current: 3"),
        ("4-2", "non-increasing order, previous: 4, current: 2"),
        ("4-4", "non-increasing order, previous: 4, current: 4"),
        ("0-10", 'too large index: "10"'),
        ("1,", 'cannot convert string to integer for index: ""'),
        ("-1", 'cannot convert string to integer for index: ""'),
        ("a", 'cannot convert string to integer for index: "a"'),
        ("1-2-3", "the fragment \"1-2-3\" violates the requirement that an index interval can have "
                  "at most two parts separated by '-'"),
        ("9" * 30, f'cannot convert string to integer for index: "{"9" * 30}"'),
    ],
)  # fmt: skip
def test_sets_of_indexes(text: str, expected: list[tuple[int, int]] | str) -> None:
    if isinstance(expected, list):
        assert parse_indexes(text, 10) == expected
        return
    with pytest.raises(IndexesError) as refusal:
        parse_indexes(text, 10)
    assert str(refusal.value) == expected


TEMPLATE, COUNT = "spec.template", "spec.completions"
SIZE = {"containers": [{"name": "c", "image": "i:1", "resources": {"limits": {"cpu": "2"}}}]}
NEAR: dict[str, Any] = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
TERM = {"labelSelector": {}, "topologyKey": "zone"}
APART = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]}}


@pytest.mark.parametrize(
    ("suspended", "active", "change", "kept"),
    [
        (True, 0, {"nodeSelector": {"a": "b"}}, False),
        (True, 0, {"tolerations": [{"key": "a", "operator": "Exists"}]}, False),
        (True, 0, {"schedulingGates": [{"name": "a"}]}, False),
        (True, 0, {"affinity": NEAR}, False),
        (True, 0, {"affinity": APART}, True),
        (True, 0, SIZE, False),
        (True, 0, {"containers": [{"name": "c", "image": "i:2"}]}, True),
        (True, 0, {"hostNetwork": True}, True),
        (True, 1, {"nodeSelector": {"a": "b"}}, True),
        (True, 1, SIZE, True),
        (False, 0, {"nodeSelector": {"a": "b"}}, True),
        (False, 0, SIZE, True),
    ],
)
def test_a_job_that_rests_may_still_be_steered(
    suspended: bool, active: int, change: dict[str, Any], kept: bool
) -> None:
    old = created(JOB, MANIFEST, spec(suspend=suspended)) | {"status": {"active": active}}
    found = step_refused(JOB, old, spec(template={"spec": change}))
    assert [each.partition(":")[0] for each in found] == ([TEMPLATE] if kept else [])


@pytest.mark.parametrize(
    ("before", "change", "expected"),
    [
        (spec(completions=3), spec(completions=4), [f"{COUNT}: Invalid value: 4: field is immutable"]),
        (indexed(), spec(completions=6),
         [f"{COUNT}: Invalid value: 6: can only be modified in tandem with spec.parallelism"]),
        (indexed(), spec(completions=6, parallelism=6), []),
        (indexed(), spec(parallelism=2), []),
        (spec(), spec(suspend=True, parallelism=3, activeDeadlineSeconds=9, backoffLimit=2,
                      ttlSecondsAfterFinished=5), []),
        (spec(), spec(managedBy="a.b/c"),
         ['spec.managedBy: Invalid value: "a.b/c": field is immutable']),
        (indexed(backoffLimitPerIndex=1), spec(backoffLimitPerIndex=2),
         ["spec.backoffLimitPerIndex: Invalid value: 2: field is immutable"]),
        (indexed(), spec(completionMode="NonIndexed"),
         ['spec.completionMode: Invalid value: "NonIndexed": field is immutable']),
        (spec(), spec(selector={"matchLabels": {"a": "b"}}), ["spec.selector"]),
    ],
)  # fmt: skip
def test_what_of_a_job_changes(
    before: dict[str, Any], change: dict[str, Any], expected: list[str]
) -> None:
    found = step_refused(JOB, created(JOB, MANIFEST, before), change)
    assert cut(found, expected) == expected


ZONES = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (spec(), []),
        (spec(timeZone="America/Argentina/Buenos_Aires"), []),
        (spec(timeZone="Etc/GMT+8"), []),
        (spec(timeZone=""),
         ['spec.timeZone: Invalid value: "": timeZone must be nil or non-empty string']),
        (spec(timeZone="../etc"), ['spec.timeZone: Invalid value: "../etc": unknown time zone ../etc']),
        (spec(timeZone="a//b"), ['spec.timeZone: Invalid value: "a//b": unknown time zone a//b']),
        (spec(timeZone="-a"), ['spec.timeZone: Invalid value: "-a": unknown time zone -a']),
        (spec(timeZone="a" * 15),
         [f'spec.timeZone: Invalid value: "{"a" * 15}": unknown time zone {"a" * 15}']),
        (spec(schedule="CRON_TZ=UTC 0 * * * *"),
         [f'spec.schedule: Invalid value: "CRON_TZ=UTC 0 * * * *": {ZONES}']),
        (spec(schedule="TZ=UTC 0 * * *"),
         ['spec.schedule: Invalid value: "TZ=UTC 0 * * *": expected exactly 5 fields, found 4: [0 * '
          "* *]",
          f'spec.schedule: Invalid value: "TZ=UTC 0 * * *": {ZONES}']),
        (spec(startingDeadlineSeconds=-1, successfulJobsHistoryLimit=-1, failedJobsHistoryLimit=-1),
         [f"spec.startingDeadlineSeconds: Invalid value: -1: {LESS}",
          f"spec.successfulJobsHistoryLimit: Invalid value: -1: {LESS}",
          f"spec.failedJobsHistoryLimit: Invalid value: -1: {LESS}"]),
        (spec(jobTemplate={"spec": {"manualSelector": True, "selector": {}}}),
         ["spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated",
          "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", "
          '"false"']),
        (spec(jobTemplate={"spec": failing({"action": "Ignore", "onPodConditions": [{"type": "A"}]}
                                           )["spec"]}), []),
        (spec(jobTemplate={"spec": {"template": None}}),
         ["spec.jobTemplate.spec.template.spec.containers: Required value",
          "spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: "
          '"OnFailure", "Never"']),
    ],
)  # fmt: skip
def test_cron_jobs(change: dict[str, Any], expected: list[str]) -> None:
    assert refused(CRON, CRON_MANIFEST, change) == expected


def test_a_zone_in_a_schedule_may_stay_where_it_was() -> None:
    old = created(CRON, CRON_MANIFEST)
    said_there = copy.deepcopy(old)
    said_there["spec"]["schedule"] = "TZ=UTC 0 * * * *"
    assert step_refused(CRON, said_there, spec(schedule="TZ=UTC 1 * * * *")) == []
    both = spec(timeZone="UTC")
    assert step_refused(CRON, said_there, both) == [
        'spec.schedule: Invalid value: "TZ=UTC 0 * * * *": cannot use both timeZone field and TZ '
        "or CRON_TZ in schedule"
    ]
    text = "TZ=UTC 1 * * * *"
    assert step_refused(CRON, old, spec(schedule=text)) == [
        f'spec.schedule: Invalid value: "{text}": {ZONES}'
    ]
    old["spec"]["timeZone"] = "Local"  # from a time when nobody looked
    assert step_refused(CRON, old, spec(suspend=True)) == []
