"""Method, path and query to what somebody wants to do. Pure: authorization is asked with it."""

from wherry.api.errors import BadRequestError, InvalidSelectorError
from wherry.api.selectors import parse_fields, parse_labels
from wherry.apiserver.asked import check_served, not_allowed
from wherry.apiserver.gate import Action
from wherry.apiserver.resources import Resource
from wherry.apiserver.rest.path import PROXY, Route
from wherry.apiserver.rest.query import Query

STREAMS = ("exec", "attach", "portforward")
_BY_METHOD = {"PUT": "update", "PATCH": "patch"}
_PROXIED = {"GET": "get", "HEAD": "get", "POST": "create", "DELETE": "delete", **_BY_METHOD}
_EVERYWHERE = ("metadata.name", "metadata.namespace")


def action_of(method: str, route: Route, query: Query) -> Action:
    """Return the action, its verb as kube-apiserver names it for RBAC.

    Raises:
        MethodNotAllowedError: the resource does not serve it.
    """
    if route.subresource == PROXY:  # OPTIONS has no verb: who may do everything may do that
        verb = _PROXIED.get(method, "")
        return Action(verb, route.resource, route.namespace, route.name, PROXY)
    verb = _verb(method, route, query)
    action = Action(verb, route.resource, route.namespace, route.name, route.subresource)
    check_served(action)
    return action


def _verb(method: str, route: Route, query: Query) -> str:
    if method in ("GET", "HEAD"):
        if route.watch or (not route.name and query.flag("watch")):
            return "watch"
        return "get" if route.name else "list"
    if method == "DELETE":
        if route.subresource:
            raise not_allowed()
        return "delete" if route.name else "deletecollection"
    if method == "POST" and bool(route.name) == bool(route.subresource):
        return "create"
    if method in _BY_METHOD and route.name:
        return _BY_METHOD[method]
    raise not_allowed()


def check_selectors(resource: Resource, labels: str, fields: str) -> None:
    """Refuse selectors that cannot work, before a watch has answered 200.

    Raises:
        BadRequestError: unreadable, or a field that is not served.
    """
    try:
        parse_labels(labels)
        terms = parse_fields(fields).terms
    except InvalidSelectorError as error:
        raise BadRequestError(str(error)) from error
    for term in terms:
        if term.path not in _EVERYWHERE and term.path not in resource.field_selectors:
            raise BadRequestError(resource.unknown_field(term.path))
