"""Validating- and MutatingWebhookConfiguration, APIService: who else is asked."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.admission_rule import (
    RULE,
    validate_match_conditions,
    validate_rule,
)
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.defaulting import NOTHING, Defaults
from wherry.apiserver.strategy.formats import PORT_RANGE, need, option
from wherry.apiserver.strategy.selector import validate_label_selector

_EFFECTS = ("None", "NoneOnDryRun")
_POLICIES = ("Fail", "Ignore")
_MATCHES = ("Equivalent", "Exact")
_REVIEWS = ("v1", "v1beta1")
_FORM = "; desired format: https://host[/path]"
_WEBHOOK = Defaults(
    absent={"failurePolicy": "Fail", "matchPolicy": "Equivalent", "timeoutSeconds": 10},
    made={"namespaceSelector": NOTHING, "objectSelector": NOTHING},
    within={
        "rules": RULE,
        "clientConfig": Defaults(within={"service": Defaults(absent={"port": 443})}),
    },
)
_MUTATING = Defaults(absent={"reinvocationPolicy": "Never"})


class WebhookConfigurationStrategy(Strategy):
    """Webhooks that refuse objects."""

    generation = True
    unconditional_update = False

    def is_change(self, new: Object, old: Object) -> bool:
        """Look at the webhooks: there is no spec."""
        return new.get("webhooks") != old.get("webhooks")

    def default(self, obj: Object) -> None:
        """Fail closed, in ten seconds."""
        _WEBHOOK.each(obj.get("webhooks", []))

    def validate(self, obj: Object) -> list[Cause]:
        """Check every webhook."""
        wrong: list[Cause] = []
        seen: set[str] = set()
        for index, hook in enumerate(obj.get("webhooks", ())):
            at, name = f"webhooks[{index}]", hook.get("name", "")
            wrong += _webhook(at, hook)
            versions = hook.get("admissionReviewVersions", [])
            wrong += _versions(f"{at}.admissionReviewVersions", versions)
            if name and name in seen:
                wrong.append(fields.duplicate(f"{at}.name", name))
            seen.add(name)
        return wrong


class MutatingWebhookConfigurationStrategy(WebhookConfigurationStrategy):
    """Webhooks that change objects, once."""

    def default(self, obj: Object) -> None:
        """As above."""
        super().default(obj)
        _MUTATING.each(obj.get("webhooks", []))


def _webhook(path: str, hook: Object) -> list[Cause]:
    wrong = _full_name(f"{path}.name", hook.get("name", ""))
    for index, rule in enumerate(hook.get("rules", ())):
        wrong += validate_rule(f"{path}.rules[{index}]", rule)
    wrong += option(path, hook, "failurePolicy", _POLICIES)
    wrong += option(path, hook, "matchPolicy", _MATCHES)
    if hook.get("sideEffects") is None:
        detail = "must specify one of None, NoneOnDryRun"
        wrong.append(fields.required(f"{path}.sideEffects", detail))
    else:
        wrong += option(path, hook, "sideEffects", _EFFECTS)
    if not 1 <= hook["timeoutSeconds"] <= 30:
        detail = "the timeout value must be between 1 and 30 seconds"
        wrong.append(fields.invalid(f"{path}.timeoutSeconds", hook["timeoutSeconds"], detail))
    for field in ("namespaceSelector", "objectSelector"):
        wrong += validate_label_selector(f"{path}.{field}", hook[field])
    wrong += option(path, hook, "reinvocationPolicy", ("IfNeeded", "Never"))
    wrong += _client(f"{path}.clientConfig", hook.get("clientConfig", {}))
    conditions = hook.get("matchConditions", [])
    return wrong + validate_match_conditions(f"{path}.matchConditions", conditions)


def _full_name(path: str, name: str) -> list[Cause]:
    if not name:
        return [fields.required(path)]
    if reasons := names.dns1123_subdomain(name):
        return [fields.invalid(path, name, ",".join(reasons))]
    if name.count(".") >= 2:
        return []
    detail = "should be a domain with at least three segments separated by dots"
    return [fields.invalid(path, name, detail)]


def _versions(path: str, versions: list[str]) -> list[Cause]:
    if not versions:
        return [fields.required(path, f"must specify one of {', '.join(_REVIEWS)}")]
    wrong: list[Cause] = []
    for index, version in enumerate(versions):
        at = f"{path}[{index}]"
        if version in versions[:index]:
            wrong.append(fields.invalid(at, version, "duplicate version"))
        else:
            wrong += names.check(at, version, names.dns1035_label)
    if not set(versions) & set(_REVIEWS):
        detail = f"must include at least one of {', '.join(_REVIEWS)}"
        wrong.append(fields.invalid(path, versions, detail))
    return wrong


def _client(path: str, config: Object) -> list[Cause]:
    service = config.get("service")
    if ("url" in config) == (service is not None):
        detail = "exactly one of url or service is required"
        return [fields.required(path, detail)]
    if service is None:
        return _url(f"{path}.url", config["url"])
    at = f"{path}.service"
    wrong = [
        fields.required(f"{at}.{field}", f"service {field} is required")
        for field in ("name", "namespace")
        if not service.get(field)
    ]
    if not 1 <= service["port"] <= 65535:
        detail = f"port is not valid: {PORT_RANGE}"
        wrong.append(fields.invalid(f"{at}.port", service["port"], detail))
    return wrong + _url_path(f"{at}.path", service.get("path", ""))


def _url(path: str, text: str) -> list[Cause]:
    try:
        url = urlsplit(text)
    except ValueError as error:
        return [fields.required(path, f"url must be a valid URL: {error}{_FORM}")]
    user, at, host = url.netloc.rpartition("@")
    parts = (
        (url.scheme, url.scheme != "https", f"'https' is the only allowed URL scheme{_FORM}"),
        (host, not host, f"host must be specified{_FORM}"),
        (user, bool(at), "user information is not permitted in the URL"),
        (url.fragment, bool(url.fragment), "fragments are not permitted in the URL"),
        (url.query, bool(url.query), "query parameters are not permitted in the URL"),
    )
    return [fields.invalid(path, part, detail) for part, bad, detail in parts if bad]


def _url_path(path: str, text: str) -> list[Cause]:
    if text in ("", "/"):
        return []
    if text == "//":
        return [fields.invalid(path, text, "segment[0] may not be empty")]
    wrong: list[Cause] = []
    if not text.startswith("/"):
        wrong.append(fields.invalid(path, text, "must start with a '/'"))
    for index, segment in enumerate(text.removeprefix("/").removesuffix("/").split("/")):
        reasons = names.dns1123_subdomain(segment)
        detail = f"segment[{index}]: {{}}" if segment else f"segment[{index}] may not be empty"
        wrong += [
            fields.invalid(path, text, detail.format(r)) for r in (reasons if segment else ("",))
        ]
    return wrong


class APIServiceStrategy(Strategy):
    """Who serves a group and version; its name says which."""

    unconditional_update = False
    status_metadata = ()

    _defaults = Defaults(
        made={"spec": Defaults(within={"service": Defaults(absent={"port": 443})})}
    )

    def check_name(self, name: str) -> Sequence[str]:
        """Be whatever can stand in a path."""
        return names.path_segment(name)

    def prepare_create(self, obj: Object) -> None:
        """Begin with nothing known."""
        obj["status"] = {}

    def default(self, obj: Object) -> None:
        """Ask at 443."""
        self._defaults.apply(obj)

    def validate(self, obj: Object) -> list[Cause]:
        """Check name and priorities."""
        spec, name = obj["spec"], obj["metadata"].get("name", "")
        wanted = f"{spec.get('version', '')}.{spec.get('group', '')}"
        wrong: list[Cause] = []
        if name != wanted:
            detail = f'must be `spec.version+"."+spec.group`: {_quoted(wanted)}'
            wrong.append(fields.invalid("metadata.name", name, detail))
        if not spec.get("group"):
            if spec.get("version") != "v1":
                detail = "only v1 may have an empty group and it better be legacy kube"
                wrong.append(fields.required("spec.group", detail))
        else:
            wrong += names.check("spec.group", spec["group"], names.dns1123_subdomain)
        wrong += names.check("spec.version", spec.get("version", ""), names.dns1035_label)
        for field, most in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
            value = spec.get(field, 0)
            if not 0 < value <= most:
                detail = f"must be positive and less than {most}"
                wrong.append(fields.invalid(f"spec.{field}", value, detail))
        return wrong + _server(spec)


def _server(spec: Object) -> list[Cause]:
    """Check who serves, and how it is known; what is served here needs neither."""
    service, bundle = spec.get("service"), spec.get("caBundle", "")
    trusted, at = spec.get("insecureSkipTLSVerify", False), "spec.insecureSkipTLSVerify"
    wrong: list[Cause] = []
    if service is None:
        if bundle:
            size = f"{len(bundle) * 3 // 4 - bundle.count('=')} bytes"
            detail = "local APIServices may not have a caBundle"
            wrong.append(fields.invalid("spec.caBundle", size, detail))
        if trusted:
            detail = "local APIServices may not have insecureSkipTLSVerify"
            wrong.append(fields.invalid(at, trusted, detail))
        return wrong
    wrong += need("spec.service", service, "namespace", "name")
    if not 1 <= service["port"] <= 65535:
        detail = f"port is not valid: {PORT_RANGE}"
        wrong.append(fields.invalid("spec.service.port", service["port"], detail))
    if trusted and bundle:
        wrong.append(fields.invalid(at, trusted, "may not be true if caBundle is present"))
    return wrong


def _quoted(text: str) -> str:
    return f'"{text}"'
