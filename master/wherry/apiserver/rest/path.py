"""REST paths to resources.

    /api/v1/pods                                    every namespace
    /api/v1/namespaces/NS/pods[/NAME[/SUBRESOURCE]]
    /apis/apps/v1/namespaces/NS/deployments/...
    /api/v1/nodes[/NAME[/SUBRESOURCE]]
    /api/v1/watch/...                               deprecated spelling of ?watch=true

A slash at the end changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from wherry.apiserver.asked import check_segment
from wherry.apiserver.resources import BY_ADDRESS, Resource

_NAMESPACE_SUBRESOURCES = ("status", "finalize")


@dataclass(frozen=True, slots=True)
class Route:
    """What a path names; `name` "" is the collection."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    watch: bool = False


def split(path: str) -> Sequence[str]:
    """Return the decoded segments of a path, without empty ones at its ends."""
    return [unquote(part) for part in path.strip("/").split("/")]


def parse(
    parts: Sequence[str], resources: Mapping[tuple[str, str, str], Resource] = BY_ADDRESS
) -> Route | None:
    """Return the route of `split` path segments, None where no resource is.

    Raises:
        BadRequestError: a name cannot be one segment of a path.
    """
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    watch = rest[0] == "watch" and len(rest) > 1
    if watch:
        rest = rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and rest[2] not in _NAMESPACE_SUBRESOURCES:
        namespace, rest = rest[1], rest[2:]
        resource = resources.get((group, version, rest[0])) if namespace else None
    else:
        resource = resources.get((group, version, rest[0]))
    if resource is None or len(rest) > 3 or "" in rest:
        return None
    name, subresource = (*rest[1:], "", "")[:2]
    check_segment("Namespace", namespace)
    check_segment("Name", name)
    route = Route(resource, namespace, name, subresource, watch)
    return route if _exists(route) else None


def _exists(route: Route) -> bool:
    """Tell whether scope and subresource fit the resource."""
    namespaced = route.resource.kind.namespaced
    if namespaced != bool(route.namespace) and (route.name or route.namespace):
        return False
    return not route.subresource or route.resource.subresource(route.subresource) is not None
