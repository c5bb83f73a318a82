"""What a request is about, as authorization sees it, whether or not anything is served there. Pure.

Who may not do a thing is told so before anybody says whether it exists, or can be done at all.
Source: apiserver `request.RequestInfoFactory`.
"""

from collections.abc import Sequence
from typing import Final

from wherry.apiserver.gate import Attributes
from wherry.apiserver.rest.path import NAMESPACE_SUBRESOURCES
from wherry.apiserver.rest.query import Query

READS: Final = ("GET", "HEAD")
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def request_info(method: str, parts: Sequence[str], query: Query) -> Attributes:
    """Return the attributes of a request for the segments of a path.

    A path of at least `/api/V/RESOURCE` or `/apis/G/V/RESOURCE` is about a resource, any other
    about itself, with its method for a verb. A method without a verb has none.
    """
    prefix, *rest = parts
    if len(rest) < {"api": 2, "apis": 3}.get(prefix, len(parts)):
        verb = "get" if method in READS else method.lower()
        return Attributes(verb, path="/" + "/".join(parts))
    group = rest.pop(0) if prefix == "apis" else ""
    version = rest.pop(0)
    watch = rest[0] == "watch" and len(rest) > 1
    namespace = ""
    if watch:
        rest.pop(0)
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    resource, name, subresource = (*rest, "", "")[:3]
    verb = _VERBS.get(method, "")
    if watch:
        verb = "watch"
    elif method in READS and not name:
        verb = "watch" if query.flag("watch") else "list"
    elif method in READS:
        verb = "get"
    elif method == "DELETE" and not name:
        verb = "deletecollection"
    return Attributes(verb, group, version, resource, subresource, namespace, name)
