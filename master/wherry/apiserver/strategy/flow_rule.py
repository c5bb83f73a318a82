"""Which requests a FlowSchema is about: flowcontrol `ValidateFlowSchemaPolicyRulesWithSubjects`."""

from collections.abc import Sequence

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object

_SUBJECTS = {"ServiceAccount": "serviceAccount", "User": "user", "Group": "group"}
_KINDS = tuple(sorted(_SUBJECTS))
_VERBS = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
)
_ALL = "*"
_MEMBER = "each member of this list must be '*' or a DNS-1123 label; "


def validate_flow_rule(path: str, rule: Object) -> list[Cause]:
    """Check who asks, and for what."""
    subjects, resources = rule.get("subjects", ()), rule.get("resourceRules", ())
    others = rule.get("nonResourceRules", ())
    wrong: list[Cause] = []
    if not subjects:
        detail = "subjects must contain at least one value"
        wrong.append(fields.required(f"{path}.subjects", detail))
    for index, subject in enumerate(subjects):
        wrong += _subject(f"{path}.subjects[{index}]", subject)
    if not resources and not others:
        detail = "at least one of resourceRules and nonResourceRules has to be non-empty"
        wrong.append(fields.required(path, detail))
    for index, each in enumerate(resources):
        wrong += _resources(f"{path}.resourceRules[{index}]", each)
    for index, each in enumerate(others):
        wrong += _urls(f"{path}.nonResourceRules[{index}]", each)
    return wrong


def _subject(path: str, subject: Object) -> list[Cause]:
    kind = subject.get("kind", "")
    if kind not in _SUBJECTS:
        return [fields.unsupported(f"{path}.kind", kind, _KINDS)]
    field = _SUBJECTS[kind]
    part, at = subject.get(field), f"{path}.{field}"
    wrong: list[Cause] = []
    if part is None:
        wrong.append(fields.required(at, f"{field} is required when subject kind is '{kind}'"))
    else:
        name = part.get("name", "")
        wrong += [] if name else [fields.required(f"{at}.name")]
        if kind == "ServiceAccount":
            if name not in ("", _ALL):
                wrong += names.check(f"{at}.name", name, names.dns1123_subdomain)
            if not part.get("namespace"):
                detail = "must specify namespace for service account"
                wrong.append(fields.required(f"{at}.namespace", detail))
            else:
                wrong += names.check(f"{at}.namespace", part["namespace"], names.dns1123_label)
    return wrong + [
        fields.forbidden(
            f"{path}.{other}", f"{other} is forbidden when subject kind is not '{its}'"
        )
        for its, other in _SUBJECTS.items()
        if its != kind and other in subject
    ]


def _verbs(path: str, rule: Object) -> list[Cause]:
    verbs, at = rule.get("verbs", []), f"{path}.verbs"
    if not verbs:
        return [fields.required(at, "verbs must contain at least one value")]
    if _ALL in verbs:
        return _alone(at, verbs, "verbs")
    if set(verbs) <= set(_VERBS):
        return []
    return [fields.unsupported(at, verbs, _VERBS)]


def _alone(path: str, values: Sequence[str], what: str) -> list[Cause]:
    if _ALL not in values or len(values) == 1:
        return []
    return [fields.invalid(path, values, f"if '*' is present, must not specify other {what}")]


def _resources(path: str, rule: Object) -> list[Cause]:
    wrong = _verbs(path, rule)
    for field, one, many in (
        ("apiGroups", "api group", "api groups"),
        ("resources", "resource", "resources"),
    ):
        values, at = rule.get(field, []), f"{path}.{field}"
        if not values:
            detail = f"resource rules must supply at least one {one}"
            wrong.append(fields.required(at, detail))
        wrong += _alone(at, values, many)
    namespaces, at = rule.get("namespaces", []), f"{path}.namespaces"
    if not namespaces and not rule.get("clusterScope"):
        detail = "resource rules that are not cluster scoped must supply at least one namespace"
        return [*wrong, fields.required(at, detail)]
    if _ALL in namespaces:
        return wrong + _alone(at, namespaces, "namespaces")
    return wrong + [
        fields.invalid(f"{at}[{index}]", namespace, _MEMBER + reason)
        for index, namespace in enumerate(namespaces)
        for reason in names.dns1123_label(namespace)
    ]


def _urls(path: str, rule: Object) -> list[Cause]:
    wrong = _verbs(path, rule)
    urls, at = rule.get("nonResourceURLs", []), f"{path}.nonResourceURLs"
    if not urls:
        detail = "nonResourceURLs must contain at least one value"
        return [*wrong, fields.required(at, detail)]
    if _ALL in urls:
        return wrong + _alone(at, urls, "non-resource URLs")
    return wrong + [
        fields.invalid(f"{at}[{index}]", url, why)
        for index, url in enumerate(urls)
        if (why := _refuse_url(url))
    ]


def _refuse_url(url: str) -> str:
    if not url:
        return "must not be empty"
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    stars = url.count(_ALL)
    if stars > 1 or (stars == 1 and not url.endswith("/*")):
        return "wildcard can only do suffix matching"
    return ""
