"""A Deployment's revisions: one ReplicaSet for each pod template that it has had.

The ReplicaSet of a template is found by comparing templates, never by name; so a template
that comes back (`kubectl rollout undo`) finds its old ReplicaSet again, whose revision is
then raised above all others. Annotations are kubectl's interface to the history.
Source: kubernetes `pkg/controller/deployment/util/deployment_util.go`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from wherry.api.kinds import DEPLOYMENT, REPLICA_SET
from wherry.controllers.framework import Json, controller_reference
from wherry.controllers.views import Deployment, ReplicaSet, to_dict

HASH_LABEL: Final = "pod-template-hash"
REVISION: Final = "deployment.kubernetes.io/revision"
REVISION_HISTORY: Final = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS: Final = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS: Final = "deployment.kubernetes.io/max-replicas"

_NOT_COPIED: Final = frozenset(
    (
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
        "deprecated.deployment.rollback.to",
    )
)
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Without vowels and look-alikes, so that no name is a word (apimachinery `rand`)."""
_HISTORY_LIMIT: Final = 2000
_EMPTY_MEANS_ABSENT: Final = frozenset(("resources", "securityContext", "metadata"))


def normalized(template: Mapping[str, Any]) -> Json:
    """Return the template as it is compared: no hash label, no nulls, no empty defaults."""
    copy: Json = _strip(template)
    labels = copy.get("metadata", {}).get("labels", {})
    if HASH_LABEL in labels:
        copy["metadata"] = {
            **copy["metadata"],
            "labels": {k: v for k, v in labels.items() if k != HASH_LABEL},
        }
    return copy


def _strip(value: Any) -> Any:
    if isinstance(value, Mapping):
        stripped = {k: _strip(v) for k, v in value.items() if v is not None and v != []}
        return {k: v for k, v in stripped.items() if v != {} or k not in _EMPTY_MEANS_ABSENT}
    if isinstance(value, list):
        return [_strip(v) for v in value]
    return value


def template_hash(template: Mapping[str, Any], collision_count: int = 0) -> str:
    """Return the pod-template-hash: the same for equal templates, at most 10 characters."""
    text = msgspec.json.encode([normalized(template), collision_count], order="deterministic")
    number = int.from_bytes(hashlib.sha256(text).digest()[:4], "big")
    return "".join(_ALPHABET[ord(c) % len(_ALPHABET)] for c in str(number))


def find_new(d: Deployment, sets: Iterable[ReplicaSet]) -> ReplicaSet | None:
    """Return the ReplicaSet of the current template, the oldest where there are several."""
    wanted = normalized(d.spec.template)
    same = [rs for rs in sets if normalized(rs.spec.template) == wanted]
    return min(same, key=by_age, default=None)


def by_age(rs: ReplicaSet) -> tuple[str, str]:
    """Sort the oldest first; by name where they are of the same second."""
    return rs.metadata.creation_timestamp or "", rs.metadata.name


def revision_of(rs: ReplicaSet) -> int:
    """Return the revision in the annotation, 0 where there is none."""
    text = rs.metadata.annotations.get(REVISION, "")
    return int(text) if text.isdigit() else 0


def next_revision(old: Sequence[ReplicaSet]) -> int:
    """Return the revision that the new ReplicaSet must at least have."""
    return max(map(revision_of, old), default=0) + 1


def annotations_for(d: Deployment, rs: ReplicaSet | None, revision: int) -> dict[str, str]:
    """Return the annotations that the new ReplicaSet should have.

    The Deployment's own are copied (kubectl reads `kubernetes.io/change-cause` there). A
    ReplicaSet that gets a higher revision remembers the one that it had.
    """
    wanted = {k: v for k, v in d.metadata.annotations.items() if k not in _NOT_COPIED}
    have = {} if rs is None else rs.metadata.annotations
    result = {**have, **wanted}
    if rs is None or revision_of(rs) < revision:
        result[REVISION] = str(revision)
        if have.get(REVISION):
            past = [p for p in have.get(REVISION_HISTORY, "").split(",") if p]
            history = ",".join([*past, have[REVISION]])
            while len(history) > _HISTORY_LIMIT:
                history = history.partition(",")[2]
            result[REVISION_HISTORY] = history
    return result


def replica_annotations(d: Deployment, max_surge: int) -> dict[str, str]:
    """Return what proportional scaling needs to know later: the size that was aimed at."""
    return {DESIRED_REPLICAS: str(d.replicas), MAX_REPLICAS: str(d.replicas + max_surge)}


def replica_set_name(d: Deployment) -> str:
    """Return the name of the current template's ReplicaSet."""
    return f"{d.metadata.name}-{_hash_of(d)}"


def _hash_of(d: Deployment) -> str:
    return template_hash(d.spec.template, d.status.collision_count or 0)


def new_replica_set(d: Deployment, replicas: int, annotations: Mapping[str, str]) -> Json:
    """Build the ReplicaSet of the current template."""
    text = _hash_of(d)
    template = dict(d.spec.template)
    meta = dict(template.get("metadata") or {})
    meta["labels"] = {**(meta.get("labels") or {}), HASH_LABEL: text}
    template["metadata"] = meta
    selector = to_dict(d.spec.selector)
    selector = {k: v for k, v in selector.items() if v}
    selector["matchLabels"] = {**d.spec.selector.match_labels, HASH_LABEL: text}
    return {
        "apiVersion": REPLICA_SET.api_version,
        "kind": REPLICA_SET.kind,
        "metadata": {
            "name": replica_set_name(d),
            "namespace": d.metadata.namespace,
            "labels": meta["labels"],
            "annotations": dict(annotations),
            "ownerReferences": [controller_reference(DEPLOYMENT, d.metadata)],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": d.spec.min_ready_seconds,
            "selector": selector,
            "template": template,
        },
    }
