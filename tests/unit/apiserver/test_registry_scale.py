"""The scale of a workload as a view: what is not asked for stays as it was, also in the old object."""

from typing import Any

from wherry.api import kinds
from wherry.apiserver.registry.parts import target_of
from wherry.apiserver.registry.scale import scaled
from wherry.apiserver.resources import BY_KIND


def test_scaling_shares_no_metadata_with_what_was() -> None:
    """An update carries metadata over in place: a shared one made it forget all managers."""
    target = target_of(BY_KIND[kinds.DEPLOYMENT], "default", "web")
    managers = [{"manager": "kubectl"}]
    old: dict[str, Any] = {
        "metadata": {"name": "web", "resourceVersion": "1", "managedFields": managers},
        "spec": {"replicas": 1, "paused": True},
    }
    new = scaled(target, old, {"metadata": {"name": "web"}, "spec": {"replicas": 3}})
    assert new["spec"] == {"replicas": 3, "paused": True}
    new["metadata"].pop("managedFields")
    assert old["metadata"]["managedFields"] == managers
    assert old["spec"] == {"replicas": 1, "paused": True}
