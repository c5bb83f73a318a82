"""Role, ClusterRole and their bindings: rbac `ValidateRole`, `ValidateRoleBinding`."""

from collections.abc import Sequence
from typing import ClassVar

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.selector import validate_label_selector

_GROUP = "rbac.authorization.k8s.io"
_NAMED = ("Group", "User")
_SUBJECTS = ("ServiceAccount", "User", "Group")


class RoleStrategy(Strategy):
    """What may be done, in a namespace or everywhere."""

    create_on_update = True
    namespaced: ClassVar[bool] = True

    def check_name(self, name: str) -> Sequence[str]:
        """Be whatever can stand in a path."""
        return names.path_segment(name)

    def validate(self, obj: Object) -> list[Cause]:
        """Check every rule."""
        wrong: list[Cause] = []
        for index, rule in enumerate(obj.get("rules", ())):
            wrong += _rule(f"rules[{index}]", rule, namespaced=self.namespaced)
        for index, selector in enumerate(
            obj.get("aggregationRule", {}).get("clusterRoleSelectors", ())
        ):
            at = f"aggregationRule.clusterRoleSelectors[{index}]"
            wrong += validate_label_selector(at, selector)
        return wrong


class ClusterRoleStrategy(RoleStrategy):
    """Also what is in no namespace, and paths."""

    namespaced = False

    def validate(self, obj: Object) -> list[Cause]:
        """Check rules, and that there is something to gather where rules are gathered."""
        wrong = super().validate(obj)
        rule = obj.get("aggregationRule")
        if rule is not None and not rule.get("clusterRoleSelectors"):
            detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
            wrong.append(fields.required("aggregationRule.clusterRoleSelectors", detail))
        return wrong


def _rule(path: str, rule: Object, *, namespaced: bool) -> list[Cause]:
    wrong: list[Cause] = []
    if not rule.get("verbs"):
        detail = "verbs must contain at least one value"
        wrong.append(fields.required(f"{path}.verbs", detail))
    urls = rule.get("nonResourceURLs", [])
    if urls:
        if namespaced:
            detail = "namespaced rules cannot apply to non-resource URLs"
            wrong.append(fields.invalid(f"{path}.nonResourceURLs", urls, detail))
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            wrong.append(fields.invalid(f"{path}.nonResourceURLs", urls, detail))
        return wrong
    if not rule.get("apiGroups"):
        detail = "resource rules must supply at least one api group"
        wrong.append(fields.required(f"{path}.apiGroups", detail))
    if not rule.get("resources"):
        detail = "resource rules must supply at least one resource"
        wrong.append(fields.required(f"{path}.resources", detail))
    return wrong


class RoleBindingStrategy(Strategy):
    """Who has a role. The role never changes: that would be another binding."""

    create_on_update = True
    roles: ClassVar[tuple[str, ...]] = ("Role", "ClusterRole")
    namespaced: ClassVar[bool] = True

    def check_name(self, name: str) -> Sequence[str]:
        """Be whatever can stand in a path."""
        return names.path_segment(name)

    def default(self, obj: Object) -> None:
        """Name the groups that are meant."""
        ref = obj.setdefault("roleRef", {})
        if not ref.get("apiGroup"):
            ref["apiGroup"] = _GROUP
        for subject in obj.get("subjects", ()):
            if not subject.get("apiGroup") and subject.get("kind") in _NAMED:
                subject["apiGroup"] = _GROUP

    def validate(self, obj: Object) -> list[Cause]:
        """Check role and subjects."""
        ref = obj["roleRef"]
        wrong: list[Cause] = []
        if ref["apiGroup"] != _GROUP:
            wrong.append(fields.unsupported("roleRef.apiGroup", ref["apiGroup"], [_GROUP]))
        if ref.get("kind", "") not in self.roles:
            wrong.append(fields.unsupported("roleRef.kind", ref.get("kind", ""), self.roles))
        if not ref.get("name"):
            wrong.append(fields.required("roleRef.name"))
        else:
            wrong += names.check("roleRef.name", ref["name"], names.path_segment)
        for index, subject in enumerate(obj.get("subjects", ())):
            wrong += _subject(f"subjects[{index}]", subject, namespaced=self.namespaced)
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the role."""
        if new.get("roleRef") == old.get("roleRef"):
            return []
        return [fields.invalid("roleRef", new.get("roleRef"), "cannot change roleRef")]


class ClusterRoleBindingStrategy(RoleBindingStrategy):
    """Who has a role everywhere."""

    roles = ("ClusterRole",)
    namespaced = False


def _subject(path: str, subject: Object, *, namespaced: bool) -> list[Cause]:
    kind, group, at = subject.get("kind", ""), subject.get("apiGroup", ""), f"{path}.apiGroup"
    wrong: list[Cause] = []
    if not subject.get("name"):
        wrong.append(fields.required(f"{path}.name"))
    if kind == "ServiceAccount":
        if subject.get("name"):
            wrong += names.check(f"{path}.name", subject["name"], names.dns1123_subdomain)
        if group:
            wrong.append(fields.unsupported(at, group, [""]))
        if not namespaced and not subject.get("namespace"):
            wrong.append(fields.required(f"{path}.namespace"))
    elif kind in _NAMED:
        if group != _GROUP:
            wrong.append(fields.unsupported(at, group, [_GROUP]))
    else:
        wrong.append(fields.unsupported(f"{path}.kind", kind, _SUBJECTS))
    return wrong
