"""Requests that last for as long as their client likes. Pure.

Source: apiserver `filters.BasicLongRunningRequestCheck`, with kube-apiserver's verbs and
subresources.
"""

import re
from contextlib import suppress
from typing import Final

from wherry.api.errors import BadRequestError
from wherry.apiserver.http.message import Request
from wherry.apiserver.rest.query import Query

_SUBRESOURCES: Final = ("/attach", "/exec", "/log", "/portforward", "/proxy")
_PROXIED: Final = re.compile(r"/+api/v1/(?:namespaces/[^/]+/(?:pods|services)|nodes)/[^/]+/proxy/")


def is_long_running(request: Request) -> bool:
    """Tell whether it is a watch, or the stream of a pod."""
    path, _, query = request.target.partition("?")
    if "/watch/" in path:
        return True
    if "watch=" in query:
        with suppress(BadRequestError):  # it is told so by its handler
            return Query(query).flag("watch")
    return path.rstrip("/").endswith(_SUBRESOURCES) or _PROXIED.match(path) is not None
