"""Pods for the tests of their strategy: `p` with one container `c`, and what it gets by default."""

import copy
from typing import Any

from strategy_cases import Object, said

from wherry.api import kinds
from wherry.apiserver.strategy import strategy_for

POD = strategy_for(kinds.POD)
C = "spec.containers[0]"


def pod(metadata: Object | None = None, **spec: Any) -> Object:
    """Return a pod with its defaults."""
    obj: Object = {
        "metadata": {"name": "p", **(metadata or {})},
        "spec": {"containers": [{"name": "c", "image": "i"}], **copy.deepcopy(spec)},
    }
    POD.default(obj)
    return obj


def one(**container: Any) -> Object:
    """Return a pod whose container has more than a name and an image."""
    return pod(containers=[{"name": "c", "image": "i", **container}])


def refused(obj: Object) -> list[str]:
    """Return what is said about a new pod."""
    return said(POD.validate(obj) + POD.validate_create(obj))
