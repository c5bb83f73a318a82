"""What a claim asks for: resource.k8s.io `validateDeviceClaim`. Selectors in CEL are taken as they are."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import orjson

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object
from wherry.apiserver.strategy.defaulting import Defaults
from wherry.apiserver.strategy.formats import need
from wherry.apiserver.strategy.pod.volume_source import check_driver_name

_MODES = ("All", "ExactCount")
_MOST = 32
_MOST_SUBREQUESTS = 8
_MOST_EXPRESSION = 10 * 1024
_MOST_PARAMETERS = 10 * 1024
_MOST_IDENTIFIER = 32
_IDENTIFIER = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_IDENTIFIER_TEXT = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of "
    "alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for "
    f"validation is '{_IDENTIFIER.pattern}')"
)
_ONE_OF = "exactly one of `exactly` or `firstAvailable` is required"
_REFERENCE = (
    "must be the name of a request in the claim or the name of a request and a subrequest "
    "separated by '/'"
)
_Check = Callable[[str, Any], list[Cause]]


def _one_device(request: Object) -> None:
    if request["allocationMode"] == "ExactCount" and not request.get("count"):
        request["count"] = 1


_REQUEST = Defaults(
    empty={"allocationMode": "ExactCount"},
    within={"tolerations": Defaults(empty={"operator": "Equal"})},
    then=_one_device,
)
CLAIM: Final = Defaults(
    within={
        "devices": Defaults(
            within={"requests": Defaults(within={"exactly": _REQUEST, "firstAvailable": _REQUEST})}
        )
    }
)
"""Of the spec of a claim."""


def validate_claim(path: str, spec: Object) -> list[Cause]:
    """Check requests, constraints and configurations of a claim's spec (defaults are in)."""
    devices, at = spec.get("devices", {}), f"{path}.devices"
    requests = devices.get("requests", [])
    known = {
        request.get("name", ""): {sub.get("name") for sub in request.get("firstAvailable", ())}
        for request in requests
    }

    def constraint(where: str, each: Object) -> list[Cause]:
        wrong = _references(f"{where}.requests", each.get("requests", []), known)
        for field in ("matchAttribute", "distinctAttribute"):
            if field in each:
                return wrong + _attribute(f"{where}.{field}", each[field])
        detail = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
        return [*wrong, fields.required(where, detail)]

    def configuration(where: str, each: Object) -> list[Cause]:
        wrong = _references(f"{where}.requests", each.get("requests", []), known)
        return wrong + validate_configuration(where, each)

    wrong = _each(f"{at}.requests", requests, _MOST, _request) + _unique(f"{at}.requests", requests)
    wrong += _each(f"{at}.constraints", devices.get("constraints", []), _MOST, constraint)
    return wrong + _each(f"{at}.config", devices.get("config", []), _MOST, configuration)


def _each(path: str, items: list[Any], most: int, check: _Check) -> list[Cause]:
    wrong: list[Cause] = []
    if len(items) > most:
        wrong.append(fields.too_many(path, len(items), most))
    for index, item in enumerate(items):
        wrong += check(f"{path}[{index}]", item)
    return wrong


def _unique(path: str, items: list[Object]) -> list[Cause]:
    taken = [item.get("name", "") for item in items]
    return [
        fields.duplicate(f"{path}[{index}]", name)
        for index, name in enumerate(taken)
        if name in taken[:index]
    ]


def _request(path: str, request: Object) -> list[Cause]:
    wrong = _name(f"{path}.name", request.get("name", ""))
    exactly, some = request.get("exactly"), request.get("firstAvailable", [])
    if exactly is not None and some:
        detail = f"{_ONE_OF}, but multiple fields are set"
        return [*wrong, fields.invalid(path, None, detail)]
    if exactly is not None:
        return wrong + _asked(f"{path}.exactly", exactly)
    if not some:
        return [*wrong, fields.required(path, _ONE_OF)]
    at = f"{path}.firstAvailable"
    return wrong + _each(at, some, _MOST_SUBREQUESTS, _subrequest) + _unique(at, some)


def _subrequest(path: str, request: Object) -> list[Cause]:
    return _name(f"{path}.name", request.get("name", "")) + _asked(path, request)


def _name(path: str, name: str) -> list[Cause]:
    return names.check(path, name, names.dns1123_label) if name else [fields.required(path)]


def _asked(path: str, request: Object) -> list[Cause]:
    wrong = need(path, request, "deviceClassName")
    if request.get("deviceClassName"):
        at, name = f"{path}.deviceClassName", request["deviceClassName"]
        wrong += names.check(at, name, names.dns1123_subdomain)
    wrong += validate_selectors(f"{path}.selectors", request.get("selectors", []))
    mode, count, at = request["allocationMode"], request.get("count", 0), f"{path}.count"
    if mode not in _MODES:
        wrong.append(fields.unsupported(f"{path}.allocationMode", mode, _MODES))
    elif mode == "All" and count:
        detail = "must not be specified when allocationMode is 'All'"
        wrong.append(fields.invalid(at, count, detail))
    elif mode == "ExactCount" and count <= 0:
        wrong.append(fields.invalid(at, count, "must be greater than zero"))
    return wrong


def validate_selectors(path: str, selectors: list[Object]) -> list[Cause]:
    """Check that selectors say something, but not too much."""
    return _each(path, selectors, _MOST, _selector)


def _selector(path: str, selector: Object) -> list[Cause]:
    cel, at = selector.get("cel"), f"{path}.cel"
    if cel is None:
        return [fields.required(at)]
    if len(cel.get("expression", "").encode()) > _MOST_EXPRESSION:
        return [fields.too_long(f"{at}.expression", _MOST_EXPRESSION)]
    return []


def _references(
    path: str, references: list[str], known: Mapping[str, Collection[Any]]
) -> list[Cause]:
    def check(where: str, name: str) -> list[Cause]:
        request, slash, sub = name.partition("/")
        if "/" in sub:
            return [fields.invalid(where, name, _REFERENCE)]
        wrong = [cause for part in name.split("/") for cause in _name(where, part)]
        if request not in known or (slash and sub not in known[request]):
            wrong.append(fields.invalid(where, name, _REFERENCE))
        return wrong

    wrong = _each(path, references, _MOST, check)
    return wrong + [
        fields.duplicate(f"{path}[{index}]", name)
        for index, name in enumerate(references)
        if name in references[:index]
    ]


def _attribute(path: str, text: str) -> list[Cause]:
    """Check the full name of an attribute: `domain/identifier`."""
    if not text:
        return [fields.required(path, "name required")]
    parts = text.split("/")
    if len(parts) > 2:
        detail = "a fully qualified name must be a domain and a name separated by a slash"
        return [fields.invalid(path, text, detail)]
    wrong: list[Cause] = []
    if len(parts) == 2:
        domain = parts[0]
        if not domain:
            wrong.append(fields.invalid(path, "", "the domain must not be empty"))
        else:
            wrong += check_driver_name(path, domain)
    name = parts[-1]
    if not name:
        return [*wrong, fields.invalid(path, "", "the name must not be empty")]
    if len(name) > _MOST_IDENTIFIER:
        wrong.append(fields.too_long(path, _MOST_IDENTIFIER))
    if not _IDENTIFIER.fullmatch(name):
        wrong.append(fields.invalid(path, name, _IDENTIFIER_TEXT))
    if len(parts) == 1:
        wrong.append(fields.invalid(path, text, "must include a domain"))
    return wrong


def validate_configuration(path: str, config: Object) -> list[Cause]:
    """Check whose configuration it is, and that there is some."""
    opaque, at = config.get("opaque"), f"{path}.opaque"
    if opaque is None:
        return [fields.required(at)]
    wrong = need(at, opaque, "driver")
    if opaque.get("driver"):
        wrong += check_driver_name(f"{at}.driver", opaque["driver"])
    if "parameters" not in opaque:
        wrong.append(fields.required(f"{at}.parameters"))
    elif len(orjson.dumps(opaque["parameters"])) > _MOST_PARAMETERS:
        wrong.append(fields.too_long(f"{at}.parameters", _MOST_PARAMETERS))
    return wrong


def validate_configurations(path: str, configs: list[Object]) -> list[Cause]:
    """Check the configurations of a class."""
    return _each(path, configs, _MOST, validate_configuration)
