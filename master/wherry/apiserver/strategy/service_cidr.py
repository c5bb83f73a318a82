"""ServiceCIDR and IPAddress: networking's validation."""

from collections.abc import Sequence

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.address import canonical_cidr, canonical_ip
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.formats import parse_cidr, unchanged

_MOST_RANGES = 2
"""One of each family."""


class ServiceCIDRStrategy(Strategy):
    """A range of cluster addresses."""

    status_metadata = ()

    def validate(self, obj: Object) -> list[Cause]:
        """Check that there are one or two ranges, of different families."""
        spec, at = obj.get("spec", {}), "spec.cidrs"
        cidrs = spec.get("cidrs", [])
        if not cidrs:
            return [fields.required(at, "at least one CIDR required")]
        if len(cidrs) > _MOST_RANGES:
            return [fields.invalid(at, spec, "may only hold up to 2 values")]
        families = {network.version for network in map(parse_cidr, cidrs) if network is not None}
        if len(families) != len(cidrs) and len(cidrs) > 1:
            detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
            return [fields.invalid(at, spec, detail)]
        wrong: list[Cause] = []
        for index, cidr in enumerate(cidrs):
            wrong += names.check(f"{at}[{index}]", cidr, canonical_cidr)
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the ranges."""
        return unchanged("spec", new.get("spec", {}), old.get("spec", {}), "cidrs")


class IPAddressStrategy(Strategy):
    """One address that is in use; it is the name."""

    def check_name(self, name: str) -> Sequence[str]:
        """Be an address in its canonical form."""
        return canonical_ip(name)

    def validate(self, obj: Object) -> list[Cause]:
        """Say who has it."""
        ref, at = obj.get("spec", {}).get("parentRef"), "spec.parentRef"
        if ref is None:
            return [fields.required(at)]
        wrong: list[Cause] = []
        if ref.get("group"):
            wrong += names.check(f"{at}.group", ref["group"], names.dns1123_subdomain)
        for field in ("resource", "name"):
            wrong += [] if ref.get(field) else [fields.required(f"{at}.{field}")]
            wrong += names.check(f"{at}.{field}", ref.get(field, ""), names.path_segment)
        namespace = ref.get("namespace", "")
        return wrong + names.check(f"{at}.namespace", namespace, names.path_segment)

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the owner."""
        return unchanged("spec", new.get("spec", {}), old.get("spec", {}), "parentRef")
