"""REST paths to resources.

    /api/v1/pods                                    every namespace
    /api/v1/namespaces/NS/pods[/NAME[/SUBRESOURCE]]
    /apis/apps/v1/namespaces/NS/deployments/...
    /api/v1/nodes[/NAME[/SUBRESOURCE]]
    .../NAME/proxy/ANY/PATH                         what follows `proxy` is for somebody else
    /api/v1/watch/...                               deprecated spelling of ?watch=true

A slash at the end changes nothing.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

import msgspec

from wherry.apiserver.asked import check_segment
from wherry.apiserver.resources import BY_ADDRESS, Resource

PROXY = "proxy"
NAMESPACE_SUBRESOURCES: Final = ("status", "finalize")
"""What follows a namespace's name and is no resource in it."""
_REMEMBERED = 2048
_SHORT = 200
"""Longer paths are not remembered."""


class Route(msgspec.Struct, frozen=True):
    """What a path names; `name` "" is the collection."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    watch: bool = False


def split(path: str) -> tuple[str, ...]:
    """Return the decoded segments of a path, without empty ones at its ends."""
    return tuple([unquote(part) for part in path.strip("/").split("/")])


class Paths:
    """What paths name; clients ask for the same ones again and again."""

    def __init__(self, resources: Mapping[tuple[str, str, str], Resource]) -> None:
        self._resources = resources
        self._split = lru_cache(_REMEMBERED)(split)
        self._parsed = lru_cache(_REMEMBERED)(self._parse)

    def split(self, path: str) -> tuple[str, ...]:
        """Split a path; see `split`."""
        return self._split(path) if len(path) < _SHORT else split(path)

    def route(self, path: str, parts: tuple[str, ...]) -> Route | None:
        """Return what a path and its segments name; see `parse`."""
        return self._parsed(parts) if len(path) < _SHORT else self._parse(parts)

    def _parse(self, parts: tuple[str, ...]) -> Route | None:
        return parse(parts, self._resources)


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
    if rest[0] == "namespaces" and len(rest) >= 3 and rest[2] not in NAMESPACE_SUBRESOURCES:
        namespace, rest = rest[1], rest[2:]
        resource = resources.get((group, version, rest[0])) if namespace else None
    else:
        resource = resources.get((group, version, rest[0]))
    if len(rest) > 3 and rest[2] == PROXY:
        rest = rest[:3]
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
    if route.watch and route.subresource == PROXY:
        return False
    return not route.subresource or route.resource.subresource(route.subresource) is not None
