"""From client-side to server-side apply, for kubectl alone (upstream's lastAppliedManager and -Updater).

`kubectl apply` keeps what it applied in an annotation. When the same user goes on with `--server-side`, the fields that stand
in the annotation and were not changed since belong to that user already, though another manager
(`kubectl-client-side-apply`) is written down for them.
"""

from typing import Any

import orjson

from wherry.apiserver.apply.fieldset import FieldSet, difference
from wherry.apiserver.apply.types import Type
from wherry.apiserver.apply.walk import changes, configured

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
KUBECTL = "kubectl"
MAX_ANNOTATIONS_BYTES = 256 * 1024


def last_applied(obj: dict[str, Any]) -> str:
    """Return what client-side apply left in the object, "" if nothing."""
    text = ((obj.get("metadata") or {}).get("annotations") or {}).get(ANNOTATION)
    return text if isinstance(text, str) else ""


def unchanged_since(obj: dict[str, Any], typ: Type) -> FieldSet:
    """Return the fields of the last client-side configuration that still have its values."""
    try:
        config = orjson.loads(last_applied(obj))
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(config, dict) or not isinstance(config.get("metadata"), dict):
        return {}
    since = changes(config, obj, typ)
    fields = difference(configured(config, typ), since.changed)
    return difference(fields, since.removed)


def with_last_applied(obj: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Return the object with its annotation brought up to date, so that client-side apply works on."""
    metadata = obj["metadata"]
    annotations = {**metadata["annotations"], ANNOTATION: _written(config)}
    if sum(len(k) + len(v) for k, v in annotations.items()) > MAX_ANNOTATIONS_BYTES:
        del annotations[ANNOTATION]
    return {**obj, "metadata": {**metadata, "annotations": annotations}}


def _written(config: dict[str, Any]) -> str:
    metadata = config["metadata"]
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != ANNOTATION}
    shown = {**config, "metadata": {**metadata, "annotations": annotations}}
    return orjson.dumps(shown, option=orjson.OPT_SORT_KEYS).decode() + "\n"
