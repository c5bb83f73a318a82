"""Eviction: what a budget allows, in upstream's words, and that pod and budget change together."""

import asyncio
from typing import Any

import orjson
import pytest
from registry_world import World, in_world

from wherry.api import kinds
from wherry.api.errors import (
    BadRequestError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    TooManyRequestsError,
    UnclassifiedError,
)
from wherry.api.kinds import POD_DISRUPTION_BUDGET

Object = dict[str, Any]
REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."
LABELS = {"app": "web"}
FULL: Object = {
    "observedGeneration": 9,
    "disruptionsAllowed": 1,
    "currentHealthy": 3,
    "desiredHealthy": 2,
    "expectedPods": 3,
}


async def running_pod(w: World, name: str = "p", *, ready: bool = True, **labels: str) -> Object:
    spec = {"containers": [{"name": "c", "image": "nginx"}]}
    await w.create(
        kinds.POD, "default", metadata={"name": name, "labels": {**LABELS, **labels}}, spec=spec
    )
    to = b'{"target":{"name":"n1"}}'
    await w.api.create(kinds.POD, to, "default", name=name, subresource="binding")
    conditions = [{"type": "Ready", "status": str(ready)}]
    await set_status(w, kinds.POD, name, {"phase": "Running", "conditions": conditions})
    return await w.get(kinds.POD, name, "default")


async def budget(w: World, name: str = "b", *, spec: Object | None = None, **status: Any) -> None:
    selector = {"matchLabels": LABELS}
    await w.create(
        POD_DISRUPTION_BUDGET, "default", name=name, spec={"selector": selector, **(spec or {})}
    )
    await set_status(w, POD_DISRUPTION_BUDGET, name, {**FULL, **status})


async def set_status(w: World, kind: kinds.Kind, name: str, status: Object) -> None:
    body = orjson.dumps({"status": status})
    await w.api.patch(kind, name, body, "default", subresource="status")


async def evict(w: World, name: str = "p", **options: Any) -> None:
    body: Object = {"metadata": {"name": name}}
    if options:
        body["deleteOptions"] = options
    await w.api.create(kinds.POD, orjson.dumps(body), "default", name=name, subresource="eviction")


async def status_of(w: World, name: str = "b") -> Object:
    found: Object = (await w.get(POD_DISRUPTION_BUDGET, name, "default"))["status"]
    return found


def test_an_eviction_costs_one_disruption_and_says_why_the_pod_goes() -> None:
    async def run(w: World) -> None:
        await running_pod(w)
        await budget(w)
        await evict(w)
        pod = await w.get(kinds.POD, "p", "default")
        assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
        reasons = {c["type"]: c.get("reason") for c in pod["status"]["conditions"]}
        assert reasons["DisruptionTarget"] == "EvictionByEvictionAPI"
        status = await status_of(w)
        assert status["disruptionsAllowed"] == 0
        assert list(status["disruptedPods"]) == ["p"]
        condition = status["conditions"][0]
        assert (condition["type"], condition["status"]) == ("DisruptionAllowed", "False")
        assert condition["reason"] == "InsufficientPods"
        await evict(w)  # it goes already: that is free
        assert (await status_of(w))["disruptionsAllowed"] == 0

    in_world(run)


@pytest.mark.parametrize(
    ("status", "error", "cause", "after_s"),
    [
        pytest.param(
            {"disruptionsAllowed": 0},
            TooManyRequestsError,
            "The disruption budget b needs 2 healthy pods and has 3 currently",
            0,
            id="nothing left",
        ),
        pytest.param(
            {
                "disruptionsAllowed": 0,
                "conditions": [
                    {
                        "type": "DisruptionAllowed",
                        "status": "False",
                        "reason": "SyncFailed",
                        "message": "jobs.batch does not implement the scale subresource",
                        "lastTransitionTime": "2026-01-01T00:00:00Z",
                    }
                ],
            },
            TooManyRequestsError,
            "The disruption budget b does not allow evicting pods currently because it failed sync: "
            "jobs.batch does not implement the scale subresource",
            0,
            id="nobody can count",
        ),
        pytest.param(
            {"observedGeneration": 0},
            TooManyRequestsError,
            "The disruption budget b is still being processed by the server.",
            10,
            id="not counted yet",
        ),
        pytest.param(
            {"disruptedPods": {f"p{n}": "2026-01-01T00:00:00Z" for n in range(2001)}},
            ForbiddenError,
            "",
            0,
            id="too many not confirmed",
        ),
    ],
)
def test_refusals(
    status: Object, error: type[TooManyRequestsError], cause: str, after_s: int
) -> None:
    async def run(w: World) -> None:
        await running_pod(w)
        await budget(w, **status)
        before = await w.get(kinds.POD, "p", "default"), await status_of(w)
        with pytest.raises(error) as refused:
            await evict(w)
        if cause:
            assert refused.value.message == REFUSED
            assert [(c.reason, c.message) for c in refused.value.causes] == [
                ("DisruptionBudget", cause)
            ]
            assert refused.value.retry_after_s == after_s
        assert before == (await w.get(kinds.POD, "p", "default"), await status_of(w))

    in_world(run)


@pytest.mark.parametrize(
    ("policy", "status", "free"),
    [
        (None, {}, True),
        (None, {"disruptionsAllowed": 0, "currentHealthy": 1}, False),
        (None, {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0}, False),
        ("IfHealthyBudget", {"disruptionsAllowed": 0, "currentHealthy": 1}, False),
        ("IfHealthyBudget", {"disruptionsAllowed": 0}, True),
        ("AlwaysAllow", {"disruptionsAllowed": 0, "currentHealthy": 0}, True),
    ],
)
def test_a_pod_that_is_not_ready(policy: str | None, status: Object, *, free: bool) -> None:
    async def run(w: World) -> None:
        await running_pod(w, ready=False)
        await budget(w, spec={"unhealthyPodEvictionPolicy": policy} if policy else {}, **status)
        if not free:
            with pytest.raises(TooManyRequestsError):
                await evict(w)
            return
        before = await status_of(w)
        await evict(w)
        assert (await w.get(kinds.POD, "p", "default"))["metadata"]["deletionTimestamp"]
        assert await status_of(w) == before

    in_world(run)


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
def test_a_pod_that_nobody_counts_on_is_free(phase: str) -> None:
    async def run(w: World) -> None:
        await running_pod(w)
        await set_status(w, kinds.POD, "p", {"phase": phase})
        await budget(w, disruptionsAllowed=0)
        await evict(w, gracePeriodSeconds=0)
        with pytest.raises(NotFoundError):
            await w.get(kinds.POD, "p", "default")

    in_world(run)


@pytest.mark.parametrize(
    ("spec", "free"),
    [
        ({"selector": {"matchLabels": {"app": "db"}}}, True),
        ({"selector": {}}, False),
        ({"selector": None}, True),
    ],
)
def test_which_pods_a_budget_covers(spec: Object, *, free: bool) -> None:
    async def run(w: World) -> None:
        await running_pod(w)
        await budget(w, spec=spec, disruptionsAllowed=0)
        if free:
            await evict(w)
        else:
            with pytest.raises(TooManyRequestsError):
                await evict(w)

    in_world(run)


def test_several_budgets_are_more_than_upstream_can() -> None:
    async def run(w: World) -> None:
        await running_pod(w)
        await budget(w, "a")
        await budget(w, "b")
        with pytest.raises(UnclassifiedError, match="more than one PodDisruptionBudget"):
            await evict(w)

    in_world(run)


def test_a_dry_run_is_refused_where_the_real_one_would_be_and_changes_nothing() -> None:
    async def run(w: World) -> None:
        await running_pod(w)
        await budget(w)
        await evict(w, dryRun=["All"])
        assert "deletionTimestamp" not in (await w.get(kinds.POD, "p", "default"))["metadata"]
        assert (await status_of(w))["disruptionsAllowed"] == 1
        await set_status(w, POD_DISRUPTION_BUDGET, "b", {"disruptionsAllowed": 0})
        with pytest.raises(TooManyRequestsError):
            await evict(w, dryRun=["All"])

    in_world(run)


def test_the_options_of_an_eviction_hold() -> None:
    async def run(w: World) -> None:
        await running_pod(w)
        with pytest.raises(
            ConflictError, match=r"the UID in the precondition \(another\) does not"
        ):
            await evict(w, preconditions={"uid": "another"})
        body = b'{"metadata":{"name":"other"}}'
        with pytest.raises(BadRequestError, match="does not match"):
            await w.api.create(kinds.POD, body, "default", name="p", subresource="eviction")
        await evict(w, gracePeriodSeconds=3)
        pod = await w.get(kinds.POD, "p", "default")
        assert pod["metadata"]["deletionGracePeriodSeconds"] == 3

    in_world(run)


@pytest.mark.parametrize("seed", range(5))
def test_evictions_that_race_spend_what_there_is_and_no_more(seed: int) -> None:
    async def run(w: World) -> None:
        for n in range(6):
            await running_pod(w, f"p{n}")
        await budget(w, disruptionsAllowed=2)

        async def attempt(n: int) -> bool:
            try:
                await evict(w, f"p{n}")
            except TooManyRequestsError:
                return False
            return True

        outcomes = await asyncio.gather(*(attempt(n) for n in range(6)))
        assert sum(outcomes) == 2
        status = await status_of(w)
        assert status["disruptionsAllowed"] == 0
        assert sorted(status["disruptedPods"]) == [f"p{n}" for n in range(6) if outcomes[n]]
        for n, gone in enumerate(outcomes):
            meta = (await w.get(kinds.POD, f"p{n}", "default"))["metadata"]
            assert ("deletionTimestamp" in meta) is gone

    in_world(run, slow=True, seed=seed)
