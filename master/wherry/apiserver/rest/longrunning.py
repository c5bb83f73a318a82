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

_WATCH: Final = re.compile(r"/+(?:api|apis/[^/]+)/[^/]+/watch/")
_ONE: Final = r"/+api/v1/(?:namespaces/[^/]+/(?:pods|services)|nodes)/[^/]+"
_STREAMED: Final = re.compile(rf"{_ONE}/(?:(?:attach|exec|log|portforward)/*$|proxy(?:/|$))")


def is_long_running(request: Request) -> bool:
    """Tell whether it is a watch, or the stream of a pod."""
    path, _, query = request.target.partition("?")
    if _WATCH.match(path):
        return True
    if "watch=" in query:
        with suppress(BadRequestError):  # it is told so by its handler
            return Query(query).flag("watch")
    return _STREAMED.match(path) is not None
