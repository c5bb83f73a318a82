"""How many pods each ReplicaSet of a Deployment may have next: arithmetic only.

Two promises bound every step of a rolling update of `replicas` pods:

    total pods     <= replicas + maxSurge
    available pods >= replicas - maxUnavailable

`maxSurge` percentages round up, `maxUnavailable` round down; if both come out as 0 nothing
could ever move, so one pod may be unavailable.

Upstream adds up what is *wanted* of the ReplicaSets and trusts their status however old it
is, and so breaks both promises for moments when their controller lags behind. Here a step
is taken only when every set has observed the last one (`all_observed`), and pods that are
about to be deleted count as there for the first promise and as gone for the second.
Source: kubernetes `pkg/controller/deployment/{rolling,sync}.go` and `util/deployment_util.go`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wherry.controllers.revision import DESIRED_REPLICAS, MAX_REPLICAS, by_age
from wherry.controllers.views import Deployment, ReplicaSet, RollingUpdate

ROLLING_UPDATE: Final = "RollingUpdate"
RECREATE: Final = "Recreate"

Sizes = Mapping[str, int]
"""ReplicaSet name -> `.spec.replicas` that it should have."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """`max_surge` and `max_unavailable`, in pods."""

    max_surge: int
    max_unavailable: int


def bounds_of(d: Deployment) -> Bounds:
    """Resolve the strategy's bounds for the wanted number of pods."""
    if d.spec.strategy.type != ROLLING_UPDATE:
        return Bounds(0, 0)
    rolling = d.spec.strategy.rolling_update or RollingUpdate()
    surge = resolve(rolling.max_surge, d.replicas, up=True)
    unavailable = resolve(rolling.max_unavailable, d.replicas, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Bounds(surge, min(unavailable, d.replicas))


def resolve(value: int | str, total: int, *, up: bool) -> int:
    """Return a number of pods from an int or a percentage of `total`."""
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * total
    return -(-share // 100) if up else share // 100


def total(sets: Iterable[ReplicaSet]) -> int:
    """Return how many pods are wanted of all the sets."""
    return sum(rs.replicas for rs in sets)


def all_observed(sets: Iterable[ReplicaSet]) -> bool:
    """Tell whether the controller of every set has counted its pods since its spec last changed."""
    return all(rs.status.observed_generation >= rs.metadata.generation for rs in sets)


def occupied(sets: Iterable[ReplicaSet]) -> int:
    """Return how many pods there are or will be: a set that was shrunk may still have to delete."""
    return sum(max(rs.replicas, rs.status.replicas) for rs in sets)


def available(rs: ReplicaSet) -> int:
    """Return how many available pods will stay: those beyond `.spec.replicas` are about to go."""
    return min(rs.replicas, rs.status.available_replicas)


def active(sets: Iterable[ReplicaSet]) -> list[ReplicaSet]:
    """Return the sets that want pods."""
    return [rs for rs in sets if rs.replicas > 0]


def new_size(d: Deployment, new_replicas: int, occupied_replicas: int) -> int:
    """Return how many pods the new ReplicaSet may have now.

    Args:
        d: The Deployment.
        new_replicas: What it wants already (0 when it is about to be created).
        occupied_replicas: `occupied` of all ReplicaSets, the new one included.
    """
    if d.spec.strategy.type != ROLLING_UPDATE or new_replicas > d.replicas:
        return d.replicas
    room = d.replicas + bounds_of(d).max_surge - occupied_replicas
    return new_replicas + max(0, min(room, d.replicas - new_replicas))


def shrink_old(d: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]) -> Sizes:
    """Return the sizes of the old ReplicaSets that may shrink in a rolling update.

    First pods that do not work are given up (they cost nothing), then working ones as far
    as the rest stays enough. Pods of the new set that do not work yet are not counted on.
    """
    if not total(old):
        return {}
    least = d.replicas - bounds_of(d).max_unavailable
    new_broken = new.replicas - available(new)
    most = total([new, *old]) - least - new_broken
    if most <= 0:
        return {}
    sizes = {rs.metadata.name: rs.replicas for rs in old}
    _give_up_broken(old, sizes, most)
    _give_up_working(old, sizes, available(new), least)
    return {rs.metadata.name: n for rs in old if (n := sizes[rs.metadata.name]) != rs.replicas}


def _give_up_broken(old: Sequence[ReplicaSet], sizes: dict[str, int], most: int) -> None:
    for rs in sorted(old, key=by_age):
        broken = rs.replicas - available(rs)
        given_up = min(broken, most)
        sizes[rs.metadata.name] -= given_up
        most -= given_up


def _give_up_working(
    old: Sequence[ReplicaSet], sizes: dict[str, int], new_available: int, least: int
) -> None:
    spare = new_available + sum(map(available, old)) - least
    for rs in sorted(old, key=by_age):
        given_up = max(0, min(sizes[rs.metadata.name], spare))
        sizes[rs.metadata.name] -= given_up
        spare -= given_up


def is_scaling(d: Deployment, sets: Iterable[ReplicaSet]) -> bool:
    """Tell whether the Deployment was resized since its ReplicaSets were."""
    return any(
        (text := rs.metadata.annotations.get(DESIRED_REPLICAS, "")).isdigit()
        and int(text) != d.replicas
        for rs in active(sets)
    )


def rescale(d: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> Sizes:
    """Return sizes after the Deployment was resized, in the middle of a roll-out or not.

    One active ReplicaSet simply follows. With several and the new one complete, the old
    ones go to zero. In the middle of a rolling update the difference is shared in
    proportion, so that what is available stays as balanced as it was. Names that are
    returned with their present size still need their annotations renewed.
    """
    alone = _active_or_latest(new, old)
    if alone is not None:
        return {alone.metadata.name: d.replicas}
    if new is not None and _saturated(d, new):
        return {rs.metadata.name: 0 for rs in active(old)}
    if d.spec.strategy.type != ROLLING_UPDATE:
        return {rs.metadata.name: rs.replicas for rs in active([*old, *([new] if new else [])])}
    sets = active([*old, *([new] if new is not None else [])])
    allowed = d.replicas + bounds_of(d).max_surge if d.replicas > 0 else 0
    return _in_proportion(d, sets, allowed - total(sets))


def _active_or_latest(new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> ReplicaSet | None:
    working = active([*old, *([new] if new is not None else [])])
    if len(working) > 1:
        return None
    if working:
        return working[0]
    return new if new is not None else max(old, key=by_age, default=None)


def _saturated(d: Deployment, new: ReplicaSet) -> bool:
    desired = new.metadata.annotations.get(DESIRED_REPLICAS, "")
    sizes = {new.replicas, new.status.available_replicas, int(desired) if desired.isdigit() else -1}
    return sizes == {d.replicas}


def _in_proportion(d: Deployment, sets: list[ReplicaSet], to_add: int) -> Sizes:
    # Larger sets first; of equal ones the newer grow first and the older shrink first.
    sets = sorted(sets, key=by_age, reverse=to_add > 0)
    sets.sort(key=lambda rs: rs.replicas, reverse=True)
    sizes: dict[str, int] = {}
    added = 0
    for rs in sets:
        share = _share(d, rs, to_add, added) if to_add else 0
        sizes[rs.metadata.name] = rs.replicas + share
        added += share
    if sets and to_add:  # what rounding left over goes to the largest
        first = sets[0].metadata.name
        sizes[first] = max(0, sizes[first] + to_add - added)
    return sizes


def _share(d: Deployment, rs: ReplicaSet, to_add: int, added: int) -> int:
    left = to_add - added
    if not left:
        return 0
    if d.replicas == 0:
        share = -rs.replicas
    else:
        most_now = d.replicas + bounds_of(d).max_surge
        text = rs.metadata.annotations.get(MAX_REPLICAS, "")
        most_then = int(text) if text.isdigit() else d.status.replicas
        share = _round(rs.replicas * most_now / most_then) - rs.replicas if most_then else 0
    return min(share, left) if to_add > 0 else max(share, left)


def _round(value: float) -> int:
    """Round half up, as Go's integer.RoundToInt32 does for positive numbers."""
    return math.floor(value + 0.5)
