"""Cluster IPs and IP families of a Service: core `ValidateServiceClusterIPsRelatedFields`.

This cluster has one family, IPv4: what the fields say of IPv6 is refused as a single-stack
cluster of upstream's refuses it. A Service without address and selector is nobody's but its
owner's, and may have both.
"""

from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.base import keep
from wherry.apiserver.strategy.formats import check_ip, option, parse_ip

Object = dict[str, Any]
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_IPS = "spec.clusterIPs"
_ONCE = "may not change once set"


def is_headless(spec: Object) -> bool:
    """Tell whether the Service has no address of its own."""
    found: bool = spec.get("clusterIPs") == ["None"]
    return found


def _is_manual(spec: Object) -> bool:
    return spec.get("clusterIP") == "None" and not spec.get("selector")


def follow_address(spec: Object, was: Object) -> None:
    """Let the new field say what the old one says, where a client changed only the old one."""
    one, many = spec.get("clusterIP", ""), spec.get("clusterIPs", [])
    if many == was.get("clusterIPs", []) and one != was.get("clusterIP", ""):
        spec.pop("clusterIPs", None)
        if one:
            spec["clusterIPs"] = [one]


def keep_addresses(spec: Object, was: Object) -> None:
    """Keep the address that an update does not mention."""
    if "ExternalName" in (spec.get("type"), was.get("type")):
        return
    for field in ("clusterIP", "ipFamilyPolicy", "ipFamilies"):
        if not spec.get(field):
            keep(spec, was, field)
    if not spec.get("clusterIPs") and spec.get("clusterIP") == was.get("clusterIP"):
        keep(spec, was, "clusterIPs")


def default_addresses(spec: Object) -> None:
    """Fill in the new field from the old one, and the families that there are."""
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    manual = _is_manual(spec)
    spec.setdefault("ipFamilyPolicy", "RequireDualStack" if manual else "SingleStack")
    if not spec.get("ipFamilies"):
        spec["ipFamilies"] = ["IPv4"]
    single = spec["ipFamilyPolicy"] == "SingleStack"
    if manual and not single and len(spec["ipFamilies"]) == 1:
        other = {"IPv4": "IPv6", "IPv6": "IPv4"}.get(spec["ipFamilies"][0])
        if other:
            spec["ipFamilies"] = [*spec["ipFamilies"], other]


def validate_addresses(spec: Object) -> list[Cause]:
    """Return what is wrong with addresses and families, alone and in this cluster."""
    if spec["type"] == "ExternalName":
        return []
    wrong = _pair(spec) + _families(spec)
    listed = _listed(spec.get("clusterIPs", []))
    wrong += listed
    if not listed:
        wrong += _matching(spec)
    return wrong or _in_this_cluster(spec)


def _pair(spec: Object) -> list[Cause]:
    one, many = spec.get("clusterIP", ""), spec.get("clusterIPs", [])
    if one and not many:
        return [fields.required(_IPS)]
    if not one and many:
        return [fields.invalid(_IPS, many, "must be empty when `clusterIP` is not specified")]
    if many[:1] != [one] and one:
        return [fields.invalid(_IPS, many, "first value must match `clusterIP`")]
    return []


def _families(spec: Object) -> list[Cause]:
    wrong: list[Cause] = []
    seen: set[str] = set()
    for index, family in enumerate(spec.get("ipFamilies", ())):
        path = f"spec.ipFamilies[{index}]"
        if family not in _FAMILIES:
            wrong.append(fields.unsupported(path, family, _FAMILIES))
        if family in seen:
            wrong.append(fields.duplicate(path, family))
        seen.add(family)
    return wrong + option("spec", spec, "ipFamilyPolicy", _FAMILY_POLICIES)


def _listed(ips: list[str]) -> list[Cause]:
    wrong: list[Cause] = []
    for index, ip in enumerate(ips):
        if index == 0 and ip == "None":
            if len(ips) > 1:
                detail = "'None' must be the first and only value"
                wrong.append(fields.invalid(_IPS, ips, detail))
            continue
        wrong += check_ip(f"{_IPS}[{index}]", ip)
    if len(ips) > 2:
        wrong.append(fields.invalid(_IPS, ips, "may only hold up to 2 values"))
    return wrong


def _matching(spec: Object) -> list[Cause]:
    """Check that the addresses are of different families, and of those that are named."""
    ips, families = spec.get("clusterIPs", []), spec.get("ipFamilies", [])
    wrong: list[Cause] = []
    if len(ips) > 1 and len({":" in ip for ip in ips}) < len(ips):
        detail = "may specify no more than one IP for each IP family"
        wrong.append(fields.invalid(_IPS, ips, detail))
    if is_headless(spec):
        return wrong
    for index, (ip, family) in enumerate(zip(ips, families, strict=False)):
        address = parse_ip(ip)
        if address is not None and family != f"IPv{address.version}":
            detail = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            wrong.append(fields.invalid(f"{_IPS}[{index}]", ip, detail))
    return wrong


def _in_this_cluster(spec: Object) -> list[Cause]:
    ips, families = spec.get("clusterIPs", []), spec.get("ipFamilies", [])
    policy, at = spec.get("ipFamilyPolicy"), "spec.ipFamilyPolicy"
    wrong: list[Cause] = []
    if policy == "SingleStack":
        wrong += [
            fields.invalid(
                at,
                policy,
                f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified",
            )
            for what, values in (("cluster IPs", ips), ("IP families", families))
            if len(values) == 2
        ]
    if wrong or _is_manual(spec):
        return wrong
    if policy == "RequireDualStack":
        detail = "this cluster is not configured for dual-stack services"
        wrong.append(fields.invalid(at, policy, detail))
    wrong += [
        fields.invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
        for index, family in enumerate(families)
        if family != "IPv4"
    ]
    if not wrong and len(ips) > 1:
        detail = "IPv6 is not configured on this cluster"
        wrong.append(fields.invalid(f"{_IPS}[1]", ips, detail))
    return wrong


def validate_addresses_update(new: Object, old: Object) -> list[Cause]:
    """Keep the first address and family, for as long as there are any."""
    if "ExternalName" in (new.get("type"), old.get("type")):
        return []
    if is_headless(new) and is_headless(old):
        return []
    wrong: list[Cause] = []
    now, was = new.get("clusterIPs", []), old.get("clusterIPs", [])
    if was and not now:
        wrong.append(fields.invalid(f"{_IPS}[0]", now, "primary clusterIP can not be unset"))
    elif was and now[0] != was[0]:
        wrong.append(fields.invalid(f"{_IPS}[0]", now, _ONCE))
    if is_headless(new) != is_headless(old):
        return wrong
    families, before = new.get("ipFamilies", []), old.get("ipFamilies", [])
    if before and families and families[0] != before[0]:
        wrong.append(fields.invalid("spec.ipFamilies[0]", families, _ONCE))
    return wrong
