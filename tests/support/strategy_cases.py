"""What a strategy says about an object: as the registry asks it, with nothing around it.

A case is a manifest, a change to it (a merge patch), and the causes in the words of a client's
`kubectl`: `field: message`.
"""

import copy
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from wherry.api.errors import Cause
from wherry.api.kinds import Kind
from wherry.apiserver.patch import merge_patch
from wherry.apiserver.strategy import strategy_for

Object = dict[str, Any]
DNS_LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


def spec(**fields: Any) -> Object:
    """Return a change to a spec."""
    return {"spec": fields}


def kind_of(address: str) -> Kind:
    """Return the kind of an address such as `apps/v1/Deployment`."""
    api_version, _, kind = address.rpartition("/")
    group, _, version = api_version.rpartition("/")
    return Kind(group, version, kind, kind.lower() + "s")


def created(address: str, manifest: Object, change: Object | None = None) -> Object:
    """Return the object as it is stored when it was created."""
    meta = {"name": "x", "namespace": "default", "uid": "u-1"} | manifest.get("metadata", {})
    obj: Object = merge_patch(
        copy.deepcopy({**manifest, "metadata": meta}), copy.deepcopy(change or {})
    )
    strategy = strategy_for(kind_of(address))
    strategy.prepare_create(obj)
    strategy.default(obj)
    return obj


def defaulted_again(address: str, obj: Object) -> Object:
    """Return what an object becomes that had its defaults already."""
    again = copy.deepcopy(obj)
    strategy_for(kind_of(address)).default(again)
    return again


def refused(address: str, manifest: Object, change: Object | None = None) -> list[str]:
    """Return what is said about the creation of an object; its metadata is not looked at."""
    strategy, obj = strategy_for(kind_of(address)), created(address, manifest, change)
    return said(strategy.validate(obj) + strategy.validate_create(obj))


def step_refused(address: str, old: Object, change: Object) -> list[str]:
    """Return what is said about the step of an update from a stored object (not the object)."""
    strategy = strategy_for(kind_of(address))
    new: Object = merge_patch(copy.deepcopy(old), copy.deepcopy(change))
    strategy.prepare_update(new, old)
    strategy.default(new)
    return said(strategy.validate_update(new, old))


def status_refused(address: str, old: Object, status: Object) -> list[str]:
    """Return what is said about an update of the status."""
    new = {**copy.deepcopy(old), "status": copy.deepcopy(status)}
    strategy = strategy_for(kind_of(address))
    strategy.prepare_status(new, old)
    return said(strategy.validate_status(new, old))


def said(causes: Iterable[Cause]) -> list[str]:
    """Return causes as a client reads them."""
    return [f"{cause.field}: {cause.message}" for cause in causes]


def cut(found: Iterable[str], expected: Sequence[str]) -> list[str]:
    """Cut each text to its beginning as it is expected; where none is, the whole text stays."""
    pairs = zip_longest(found, expected, fillvalue="")
    return [text[: len(beginning) or None] for text, beginning in pairs]
