"""`/healthz /livez /readyz` in kube-apiserver's words. Pure.

    /readyz                     ok, or 500 and a line for each check
    /readyz?verbose             a line for each check, whatever they say
    /readyz?exclude=etcd        without one of them
    /readyz/etcd                one of them

The checks have upstream's names: `etcd` is the store, `informer-sync` the caches. An API server
that waits for either is alive, so `/livez` and `/healthz` as a whole ask neither: to start it
again would not help. Everybody may ask, so why a check failed is for the log and not for the answer.
Source: apiserver `server/healthz`.
"""

import json
from collections.abc import Mapping
from typing import Final

from wherry.api.errors import NotFoundError
from wherry.apiserver.http.message import NO_CACHE, TEXT, Response
from wherry.apiserver.rest.query import Query

PING: Final = "ping"
_HEADERS: Final = [("X-Content-Type-Options", "nosniff"), NO_CACHE]


def health(name: str, checks: Mapping[str, str], query: Query) -> Response:
    """Answer for all checks.

    Args:
        name: `healthz`, `livez` or `readyz`; only the last asks for more than `PING`.
        checks: By name what is wrong, "" if nothing is.
        query: `verbose` and `exclude`.
    """
    excluded = set(query.texts("exclude"))
    lines, failed = list[str](), False
    for check, why in checks.items():
        if name != "readyz" and check != PING:
            continue
        if check in excluded:
            lines.append(f"[+]{check} excluded: ok")
        elif why:
            failed = True
            lines.append(f"[-]{check} failed: reason withheld")
        else:
            lines.append(f"[+]{check} ok")
    if unknown := sorted(excluded - checks.keys()):
        quoted = ",".join(json.dumps(one) for one in unknown)
        lines.append(f"warn: some health checks cannot be excluded: no matches for {quoted}")
    if failed:
        return _text(500, "\n".join([*lines, f"{name} check failed", ""]))
    if not query.texts("verbose"):
        return _text(200, "ok")
    return _text(200, "\n".join([*lines, f"{name} check passed", ""]))


def single(check: str, checks: Mapping[str, str]) -> Response:
    """Answer for one check.

    Raises:
        NotFoundError: there is none of that name.
    """
    if check not in checks:
        raise NotFoundError("the server could not find the requested resource")
    if checks[check]:
        return _text(500, "internal server error: reason withheld\n")
    return _text(200, "ok")


def _text(code: int, text: str) -> Response:
    return Response(code, text.encode(), TEXT, _HEADERS)
