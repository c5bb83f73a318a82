"""What a Job's status may become, step by step: batch `ValidateJobUpdateStatus`."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategy_cases import created, status_refused

from wherry.apiserver.strategy.job_status import validate_job_status

Object = dict[str, Any]
JOB = "batch/v1/Job"
POD = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}
INDEXED = {"completionMode": "Indexed", "completions": 5, "parallelism": 3}
LIMITED = {**INDEXED, "backoffLimitPerIndex": 1}
ELASTIC = {**INDEXED, "parallelism": 5}
POLICY = {**INDEXED, "successPolicy": {"rules": [{"succeededCount": 1}]}}
AT = "status.conditions: Invalid value: "
BEGUN, ENDED = "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"
RUNNING = {"active": 1, "ready": 1, "startTime": BEGUN}
NOT_NEGATIVE = "must be greater than or equal to 0"


def on(*kinds: str, **status: Any) -> Object:
    """Return a status in which the conditions are true."""
    return {**status, "conditions": [{"type": kind, "status": "True"} for kind in kinds]}


DONE = on("SuccessCriteriaMet", "Complete", succeeded=1, startTime=BEGUN, completionTime=ENDED)
BROKEN = on("FailureTarget", "Failed", failed=7, startTime=BEGUN)


def job(spec: Object, status: Object) -> Object:
    return created(JOB, {"spec": {"template": {"spec": POD}, **spec}}) | {"status": status}


STEPS: list[tuple[Object, Object, Object, list[str]]] = [
    # what upstream's controller does
    ({}, {}, RUNNING, []),
    ({}, RUNNING, {**RUNNING, "uncountedTerminatedPods": {"succeeded": ["u1"]}}, []),
    ({}, RUNNING, on("SuccessCriteriaMet", startTime=BEGUN, terminating=1), []),
    ({}, on("SuccessCriteriaMet", startTime=BEGUN, terminating=1), DONE, []),
    ({}, RUNNING, on("FailureTarget", failed=7, startTime=BEGUN, active=1), []),
    ({}, on("FailureTarget", failed=7, startTime=BEGUN), BROKEN, []),
    ({}, DONE, DONE, []),
    ({}, BROKEN, BROKEN, []),
    (INDEXED, RUNNING, {**RUNNING, "succeeded": 3, "completedIndexes": "0-1,4"}, []),
    (LIMITED, RUNNING, {**RUNNING, "failedIndexes": "2", "completedIndexes": "0-1,3"}, []),
    (LIMITED, RUNNING, {**RUNNING, "failedIndexes": ""}, []),
    ({"suspend": True}, RUNNING, on("Suspended"), []),
    ({"suspend": True, "completions": 0}, {}, on("SuccessCriteriaMet", "Complete", completionTime=ENDED), []),
    # counts and lists
    ({}, {}, {"active": -1, "succeeded": -1, "failed": -1, "ready": -2, "terminating": -1}, [f"status.{each}: Invalid value: {count}: {NOT_NEGATIVE}" for each, count in (("active", -1), ("succeeded", -1), ("failed", -1), ("ready", -2), ("terminating", -1))] + ["status.failed: Invalid value: -1: cannot decrease the failed counter", "status.succeeded: Invalid value: -1: cannot decrease the succeeded counter"]),
    ({}, {}, {"uncountedTerminatedPods": {"succeeded": ["a", "", "a"], "failed": ["a", "b", ""]}}, ['status.uncountedTerminatedPods.succeeded[1]: Invalid value: "": must not be empty', 'status.uncountedTerminatedPods.succeeded[2]: Duplicate value: "a"', 'status.uncountedTerminatedPods.failed[0]: Duplicate value: "a"', 'status.uncountedTerminatedPods.failed[2]: Invalid value: "": must not be empty']),
    ({}, {"active": 2}, {"active": 2, "ready": 3}, ["status.ready: Invalid value: 3: cannot set more ready pods than active"]),
    ({}, {"active": 2, "ready": 2}, {"ready": 2}, ["status.ready: Invalid value: 2: cannot set more ready pods than active"]),
    ({}, {"ready": 3}, {"ready": 3, "failed": 1}, []),
    ({}, {"ready": 3}, {"ready": 3, "active": 0}, []),
    ({}, {"failed": 2, "succeeded": 2}, {"failed": 1, "succeeded": 1}, ["status.failed: Invalid value: 1: cannot decrease the failed counter", "status.succeeded: Invalid value: 1: cannot decrease the succeeded counter"]),
    (INDEXED, {"succeeded": 2}, {}, ["status.succeeded: Invalid value: 0: cannot decrease the succeeded counter"]),
    (ELASTIC, {"succeeded": 2}, {}, []),
    # two ends, and none that was announced
    ({}, RUNNING, {**DONE, **on("Complete", "Failed", "FailureTarget", "SuccessCriteriaMet")}, [f"{AT}cannot set Complete=True and Failed=true conditions", f"{AT}cannot set Complete=True and FailureTarget=true conditions", f"{AT}cannot set SuccessCriteriaMet=True and Failed=true conditions", f"{AT}cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"]),
    ({}, RUNNING, {**DONE, **on("Complete")}, [f"{AT}cannot set Complete=True condition without the SuccessCriteriaMet=true condition"]),
    ({}, RUNNING, on("Failed", startTime=BEGUN), [f"{AT}cannot set Failed=True condition without the FailureTarget=true condition"]),
    ({}, on("Failed", startTime=BEGUN), on("Failed", startTime=BEGUN, failed=1), []),
    (POLICY, {**DONE, **on("Complete")}, {**DONE, **on("Complete")}, [f"{AT}cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"]),
    # when it ended
    ({}, RUNNING, {**RUNNING, "completionTime": ENDED}, [f'status.completionTime: Invalid value: "{ENDED}": cannot set completionTime when there is no Complete=True condition']),
    ({}, RUNNING, on("SuccessCriteriaMet", "Complete", startTime=BEGUN), ["status.completionTime: Required value: completionTime is required for Complete jobs"]),
    ({}, {"startTime": ENDED}, {**DONE, "startTime": ENDED, "completionTime": BEGUN}, [f'status.completionTime: Invalid value: "{BEGUN}": completionTime cannot be set before startTime']),
    ({}, DONE, {**DONE, "completionTime": "2026-01-01T02:00:00Z"}, ['status.completionTime: Invalid value: "2026-01-01T02:00:00Z": completionTime cannot be mutated']),
    ({}, RUNNING, {"active": 1}, ["status.startTime: Required value: startTime cannot be removed for unsuspended job"]),
    ({}, RUNNING, {**RUNNING, "startTime": ENDED}, ["status.startTime: Required value: startTime cannot be removed for unsuspended job"]),
    # what is left of it
    ({}, {}, on("SuccessCriteriaMet", "Complete", completionTime=ENDED), ["status.startTime: Required value: startTime is required for finished job"]),
    ({}, RUNNING, {**DONE, "active": 1}, ["status.active: Invalid value: 1: active>0 is invalid for finished job"]),
    ({}, RUNNING, {**BROKEN, "terminating": 2}, ["status.terminating: Invalid value: 2: terminating>0 is invalid for finished job"]),
    ({}, RUNNING, {**BROKEN, "uncountedTerminatedPods": {"failed": ["u"]}}, ['status.uncountedTerminatedPods: Invalid value: {"failed":["u"]}: uncountedTerminatedPods needs to be empty for finished job']),
    ({}, {**DONE, "active": 1}, {**DONE, "active": 1, "succeeded": 2}, []),
    ({}, DONE, {**DONE, "active": 1}, ["status.active: Invalid value: 1: active>0 is invalid for finished job"]),
    ({}, BROKEN, {**BROKEN, "terminating": 1}, ["status.terminating: Invalid value: 1: terminating>0 is invalid for finished job"]),
    # indexes
    (INDEXED, {}, {"completedIndexes": "1,1"}, ['status.completedIndexes: Invalid value: "1,1": error parsing completedIndexes: non-increasing order, previous: 1, current: 1']),
    (INDEXED, {}, {"completedIndexes": "5"}, ['status.completedIndexes: Invalid value: "5": error parsing completedIndexes: too large index: "5"']),
    (INDEXED, {"completedIndexes": "5"}, {"completedIndexes": "5", "active": 1}, []),
    ({}, {}, {"completedIndexes": "0"}, ['status.completedIndexes: Invalid value: "0": cannot set non-empty completedIndexes when non-indexed completion mode']),
    (INDEXED, {}, {"failedIndexes": "0"}, ['status.failedIndexes: Invalid value: "0": cannot set non-null failedIndexes when backoffLimitPerIndex is null']),
    (INDEXED, {}, {"failedIndexes": ""}, ['status.failedIndexes: Invalid value: "": cannot set non-null failedIndexes when backoffLimitPerIndex is null']),
    (LIMITED, {}, {"failedIndexes": "a"}, ['status.failedIndexes: Invalid value: "a": error parsing failedIndexes: cannot convert string to integer for index: "a"']),
    (LIMITED, {}, {"completedIndexes": "0-2,4", "failedIndexes": "3-4"}, ['status.failedIndexes: Invalid value: "3-4": failedIndexes and completedIndexes overlap at index: 4']),
    (LIMITED, {}, {"completedIndexes": "x,2", "failedIndexes": "2"}, ['status.completedIndexes: Invalid value: "x,2": error parsing completedIndexes: cannot convert string to integer for index: "x"', 'status.failedIndexes: Invalid value: "2": failedIndexes and completedIndexes overlap at index: 2']),
    # what was said
    ({}, BROKEN, on("FailureTarget", failed=7, startTime=BEGUN), [f"{AT}cannot disable the terminal Failed=True condition"]),
    ({}, BROKEN, on(failed=7, startTime=BEGUN), [f"{AT}cannot disable the terminal Failed=True condition", f"{AT}cannot disable the terminal FailureTarget=True condition"]),
    ({}, DONE, on(succeeded=1, startTime=BEGUN), [f"{AT}cannot disable the terminal Complete=True condition", f"{AT}cannot disable the SuccessCriteriaMet=True condition"]),
    ({}, {**DONE, **on("Complete")}, DONE, [f"{AT}cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"]),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "was", "becomes", "expected"), STEPS)
def test_the_steps_of_a_job(
    spec: Object, was: Object, becomes: Object, expected: list[str]
) -> None:
    assert status_refused(JOB, job(spec, was), becomes) == expected


CONDITIONS = ("Complete", "Failed", "FailureTarget", "SuccessCriteriaMet", "Suspended")
STATUSES = st.builds(
    lambda kinds, fields: on(*kinds, **{k: v for k, v in fields.items() if v is not None}),
    st.sets(st.sampled_from(CONDITIONS)),
    st.fixed_dictionaries(
        {
            **dict.fromkeys(
                ("active", "ready", "failed", "succeeded"), st.one_of(st.none(), st.integers(0, 2))
            ),
            "startTime": st.sampled_from([None, BEGUN, ENDED]),
            "completionTime": st.sampled_from([None, BEGUN, ENDED]),
            "completedIndexes": st.sampled_from([None, "", "0", "0-2", "9"]),
            "failedIndexes": st.sampled_from([None, "", "1", "3,4"]),
        }
    ),
)


@given(was=STATUSES, becomes=STATUSES, spec=st.sampled_from([{}, INDEXED, LIMITED, ELASTIC]))
def test_whatever_is_taken_keeps_an_end_and_has_one(
    was: Object, becomes: Object, spec: Object
) -> None:
    old, new = job(spec, was), job(spec, becomes)
    before = copy.deepcopy((old, new))
    causes = validate_job_status(new, old)
    assert (old, new) == before
    said = {c["type"] for c in was["conditions"]} & {"Complete", "Failed"}
    says = {c["type"] for c in becomes["conditions"]} & {"Complete", "Failed"}
    if not causes:
        assert said <= says
        assert len(says) < 2 or said == says


@given(status=STATUSES)
def test_a_status_that_stays_is_taken_but_for_two_ends(status: Object) -> None:
    same = job({}, status)
    texts = {cause.message for cause in validate_job_status(copy.deepcopy(same), same)}
    assert all("SuccessCriteriaMet=True and" in text for text in texts)
