"""What a client is told who makes a pod or a template that is allowed, and better were not so.

The object has passed the schema, and no defaults are in it.
Source: `GetWarningsForPod` and `GetWarningsForPodTemplate` of upstream's `pkg/api/pod`.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

from wherry.apiserver.strategy import names
from wherry.apiserver.strategy.formats import amount_of
from wherry.apiserver.strategy.pod.annotations import APP_ARMOR, SECCOMP, SECCOMP_OF
from wherry.apiserver.strategy.pod.volume_source import OLD_VOLUMES

Object = dict[str, Any]
_LISTS = ("initContainers", "containers", "ephemeralContainers")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_HOST_NAME = (
    "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
    "a DNS label is recommended"
)
_NO_SELECTOR = "a null labelSelector results in matching no pod"
_SYSCTLS = 'non-functional in v1.11+; use the "sysctls" field instead'
_ANNOTATIONS: Final = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "security.alpha.kubernetes.io/sysctls": _SYSCTLS,
    "security.alpha.kubernetes.io/unsafe-sysctls": _SYSCTLS,
}
_NO_SECCOMP = 'non-functional in v1.27+; use the "seccompProfile" field instead'
_OLD_APP_ARMOR = 'deprecated since v1.30; use the "appArmorProfile" field instead'
_NODE_LABELS: Final = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": (
        'deprecated since v1.17; use "topology.kubernetes.io/region" instead'
    ),
    "failure-domain.beta.kubernetes.io/zone": (
        'deprecated since v1.17; use "topology.kubernetes.io/zone" instead'
    ),
    "beta.kubernetes.io/instance-type": (
        'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead'
    ),
}


def warn_of_pod(obj: Object) -> list[str]:
    """Return what a client is told who makes this pod."""
    meta = obj.get("metadata", {})
    name = meta.get("name", "")
    reasons = names.dns1123_label(name) if name else ()
    found = [f"{_HOST_NAME}: [{' '.join(reasons)}]"] if reasons else []
    return found + _warn("", meta, obj.get("spec", {}))


def warn_of_template(path: str, template: Object) -> list[str]:
    """Return what a client is told who makes a workload with this template, which stands at `path`."""
    return _warn(f"{path}.", template.get("metadata", {}), template.get("spec", {}))


def _warn(path: str, meta: Object, spec: Object) -> list[str]:
    at = f"{path}spec"
    found = [
        f"{at}.nodeSelector[{key}]: {_NODE_LABELS[key]}"
        for key in spec.get("nodeSelector", ())
        if key in _NODE_LABELS
    ]
    if "affinity" in spec:
        found += _node_affinity(f"{at}.affinity.nodeAffinity", spec["affinity"])
    if "topologySpreadConstraints" in spec:
        found += _spreads(f"{at}.topologySpreadConstraints", spec["topologySpreadConstraints"])
    if "annotations" in meta:
        found += _annotations(path, meta["annotations"], spec)
    if "volumes" in spec:
        found += _volumes(f"{at}.volumes", spec["volumes"])
    for field, key in (("hostAliases", "ip"), ("imagePullSecrets", "name")):
        if field in spec:
            found += _repeated(f"{at}.{field}", spec[field], key)
    if "overhead" in spec:
        found += _fractions(f"{at}.overhead", spec["overhead"])
    found += _of_containers(at, spec)
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        found.append(
            f"{at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and "
            "will be treated as 1"
        )
    if "affinity" in spec:
        found += _pod_affinity(f"{at}.affinity", spec["affinity"])
    return found


def _of_containers(path: str, spec: Object) -> list[str]:
    found: list[str] = []
    ports: list[tuple[str, Object]] = []
    for where, container in _containers(path, spec):
        found += _container(where, container)
        for index, port in enumerate(container.get("ports", ())):
            ports.append((f"{where}.ports[{index}]", port))
    return found + _ports(ports) if len(ports) > 1 else found


def _containers(path: str, spec: Object) -> Iterator[tuple[str, Object]]:
    for field in _LISTS:
        for index, container in enumerate(spec.get(field, ())):
            yield f"{path}.{field}[{index}]", container


def _node_affinity(path: str, affinity: Object) -> list[str]:
    wishes = affinity.get("nodeAffinity", {})
    terms = {
        f"{path}.{_REQUIRED}.nodeSelectorTerms[{index}]": term
        for index, term in enumerate(wishes.get(_REQUIRED, {}).get("nodeSelectorTerms", ()))
    }
    for index, wish in enumerate(wishes.get(_PREFERRED, ())):
        terms[f"{path}.{_PREFERRED}[{index}].preference"] = wish.get("preference", {})
    return [
        f"{at}.matchExpressions[{index}].key: {key} is {_NODE_LABELS[key]}"
        for at, term in terms.items()
        for index, requirement in enumerate(term.get("matchExpressions", ()))
        if (key := requirement.get("key", "")) in _NODE_LABELS
    ]


def _spreads(path: str, spreads: list[Object]) -> list[str]:
    found: list[str] = []
    for index, spread in enumerate(spreads):
        key = spread.get("topologyKey", "")
        if key in _NODE_LABELS:
            found.append(f"{path}[{index}].topologyKey: {key} is {_NODE_LABELS[key]}")
        if "labelSelector" not in spread:
            found.append(f"{path}[{index}].labelSelector: {_NO_SELECTOR}")
    return found


def _annotations(path: str, annotations: Object, spec: Object) -> list[str]:
    at, context = f"{path}metadata.annotations", spec.get("securityContext", {})
    found = [f"{at}[{key}]: {why}" for key, why in _ANNOTATIONS.items() if key in annotations]
    if SECCOMP in annotations and "seccompProfile" not in context:
        found.append(f"{at}[{SECCOMP}]: {_NO_SECCOMP}")
    for _, container in _containers("", spec):
        name, own = container.get("name", ""), container.get("securityContext", {})
        if f"{SECCOMP_OF}{name}" in annotations and "seccompProfile" not in own:
            found.append(f"{at}[{SECCOMP_OF}{name}]: {_NO_SECCOMP}")
        armed = "appArmorProfile" in own or (path and "appArmorProfile" in context)
        if f"{APP_ARMOR}{name}" in annotations and not armed:
            found.append(f"{at}[{APP_ARMOR}{name}]: {_OLD_APP_ARMOR}")
    return found


def _volumes(path: str, volumes: list[Object]) -> list[str]:
    return [
        f"{path}[{index}].{'storageOS' if kind == 'storageos' else kind}: {why}"
        for index, volume in enumerate(volumes)
        for kind, why in OLD_VOLUMES.items()
        if kind in volume
    ]


def _repeated(path: str, entries: list[Object], key: str) -> list[str]:
    found: list[str] = []
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        value = entry.get(key, "")
        if value in seen:
            found.append(f'{path}[{index}].{key}: duplicate {key} "{value}"')
        seen.add(value)
    if key == "name":
        found += [
            f'{path}[{index}].name: invalid empty name ""'
            for index, entry in enumerate(entries)
            if not entry.get("name")
        ]
    return found


def _fractions(path: str, resources: Object) -> list[str]:
    return [
        f'{path}[{name}]: fractional byte value "{resources[name]}" is invalid, must be an integer'
        for name in ("memory", "ephemeral-storage")
        if name in resources
        and str(resources[name])[-1:] in "mun"
        and _milli(amount_of(resources[name])) % 1000
    ]


def _milli(amount: Fraction) -> int:
    return -(-amount.numerator * 1000 // amount.denominator)


def _container(path: str, container: Object) -> list[str]:
    found: list[str] = []
    resources = container.get("resources")
    if resources:
        for part in ("limits", "requests"):
            found += _fractions(f"{path}.resources.{part}", resources.get(part, {}))
    env = container.get("env", ())
    if len(env) > 1:
        seen: set[str] = set()
        for index, variable in enumerate(env):
            name = variable.get("name", "")
            if name in seen and _hides(variable, f"$({name})"):
                found.append(
                    f'{path}.env[{index}]: hides previous definition of "{name}", which may be '
                    "dropped when using apply"
                )
            seen.add(name)
    return found


def _hides(variable: Object, reference: str) -> bool:
    """Tell whether nothing of the earlier value is left: one that is made longer is meant so."""
    value = variable.get("value", "")
    return "valueFrom" in variable or value == reference or reference not in value


def _ports(ports: list[tuple[str, Object]]) -> list[str]:
    found: list[str] = []
    known: dict[tuple[int, str], list[tuple[str, Object]]] = {}
    for at, port in ports:
        key = (port.get("containerPort", 0), port.get("protocol") or "TCP")
        others = known.setdefault(key, [])
        # Enough is said of the first few: a pod with more of the same port is a mistake anyway.
        for other_at, other in others[:8]:
            found += _beside(at, port, other_at, other)
        others.append((at, port))
    return found


def _beside(at: str, port: Object, other_at: str, other: Object) -> list[str]:
    """Say how two definitions of one port get on."""
    ip, other_ip = port.get("hostIP", ""), other.get("hostIP", "")
    number, other_number = port.get("hostPort", 0), other.get("hostPort", 0)
    if ip == other_ip and number == other_number:
        how = "duplicate"
    elif not number or not other_number:
        how = "overlapping"
    elif number == other_number and bool(ip) != bool(other_ip):
        how = "dangerously ambiguous"
    else:
        return []
    return [f"{at}: {how} port definition with {other_at}"]


def _pod_affinity(path: str, affinity: Object) -> list[str]:
    found: list[str] = []
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind, {})
        for index, term in enumerate(terms.get(_REQUIRED, ())):
            if "labelSelector" not in term:
                found.append(f"{path}.{kind}.{_REQUIRED}[{index}].labelSelector: {_NO_SELECTOR}")
        for index, wish in enumerate(terms.get(_PREFERRED, ())):
            if "labelSelector" not in wish.get("podAffinityTerm", {}):
                at = f"{path}.{kind}.{_PREFERRED}[{index}].podAffinityTerm"
                found.append(f"{at}.labelSelector: {_NO_SELECTOR}")
    return found
