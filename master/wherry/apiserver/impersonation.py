"""Impersonation: `kubectl --as=USER --as-group=GROUP`, asked for by request headers.

    Impersonate-User: USER            any number of   Impersonate-Group: GROUP
    Impersonate-Uid: UID                              Impersonate-Extra-KEY: VALUE

Whoever asks needs the verb `impersonate` for each: on `users`, or `serviceaccounts` of a
namespace for the user; on `groups`, `uids` and `userextras/KEY` for the rest (upstream's rules).
To ignore the headers would be worse than to refuse them: somebody who means to act with less
rights would act with all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from wherry.api.errors import BadRequestError
from wherry.apiserver.gate import Attributes
from wherry.apiserver.verbs import ANONYMOUS, User

PREFIX = "impersonate-"
_EXTRA = f"{PREFIX}extra-"
_ACCOUNT = "system:serviceaccount:"
_AUTHENTICATED = "system:authenticated"
_AUTHN_GROUP = "authentication.k8s.io"


@dataclass(frozen=True, slots=True)
class Impersonation:
    """Who is to be impersonated, and what the asker must be allowed to."""

    user: User
    needed: Sequence[Attributes]


def impersonation(headers: Iterable[tuple[str, str]]) -> Impersonation | None:
    """Return what the headers (names in lower case) ask for, None if nothing.

    Raises:
        BadRequestError: they ask for groups, a uid or extra fields of nobody.
    """
    asked = [(name, value) for name, value in headers if name.startswith(PREFIX)]
    if not asked:
        return None
    name, uid = _last(asked, "user"), _last(asked, "uid")
    groups = [value for key, value in asked if key == f"{PREFIX}group"]
    extra: dict[str, list[str]] = {}
    for key, value in asked:
        if key.startswith(_EXTRA):
            extra.setdefault(unquote(key.removeprefix(_EXTRA)), []).append(value)
    if not name:
        raise BadRequestError("requested impersonation without impersonating a user")
    needed = [_of_user(name)]
    needed += [Attributes("impersonate", version="v1", resource="groups", name=g) for g in groups]
    needed += [
        Attributes("impersonate", _AUTHN_GROUP, "v1", "userextras", key, name=value)
        for key, values in extra.items()
        for value in values
    ]
    if uid:
        needed.append(Attributes("impersonate", _AUTHN_GROUP, "v1", "uids", name=uid))
    return Impersonation(User(name, _groups(name, groups), uid, extra), needed)


def _last(asked: Sequence[tuple[str, str]], what: str) -> str:
    return next((value for name, value in reversed(asked) if name == PREFIX + what), "")


def _account(name: str) -> tuple[str, str] | None:
    """Return (namespace, name) of a ServiceAccount's user name."""
    namespace, colon, account = name.removeprefix(_ACCOUNT).partition(":")
    if name.startswith(_ACCOUNT) and namespace and colon and account and ":" not in account:
        return namespace, account
    return None


def _of_user(name: str) -> Attributes:
    account = _account(name)
    if account is None:
        return Attributes("impersonate", version="v1", resource="users", name=name)
    return Attributes(
        "impersonate",
        version="v1",
        resource="serviceaccounts",
        namespace=account[0],
        name=account[1],
    )


def _groups(name: str, asked: Sequence[str]) -> tuple[str, ...]:
    if name == ANONYMOUS.name:
        return tuple(dict.fromkeys((*asked, *ANONYMOUS.groups)))
    account = _account(name)
    own = asked
    if account is not None and not asked:
        own = ("system:serviceaccounts", f"system:serviceaccounts:{account[0]}")
    return tuple(dict.fromkeys((*own, _AUTHENTICATED)))
