"""How a pod resolves names: core `validateDNSPolicy` and `validatePodDNSConfig`."""

from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import check_ip, choice

Object = dict[str, Any]
_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_MOST_NAMESERVERS = 3
_MOST_SEARCHES = 32
_MOST_SEARCH_CHARACTERS = 2048


def validate_dns_policy(path: str, spec: Object) -> list[Cause]:
    """Check the policy. `path` is the spec's."""
    return choice(path, spec, "dnsPolicy", _POLICIES)


def validate_dns_config(path: str, spec: Object) -> list[Cause]:
    """Check the configuration, which policy None needs. `path` is the spec's."""
    config, at = spec.get("dnsConfig"), f"{path}.dnsConfig"
    if spec.get("dnsPolicy") == "None":
        if config is None:
            detail = "must provide `dnsConfig` when `dnsPolicy` is None"
            return [fields.required(at, detail)]
        if not config.get("nameservers"):
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [fields.required(f"{at}.nameservers", detail)]
    return [] if config is None else _config(at, config)


def _config(path: str, config: Object) -> list[Cause]:
    wrong: list[Cause] = []
    servers, searches = config.get("nameservers", []), config.get("searches", [])
    if len(servers) > _MOST_NAMESERVERS:
        detail = f"must not have more than {_MOST_NAMESERVERS} nameservers"
        wrong.append(fields.invalid(f"{path}.nameservers", servers, detail))
    for index, server in enumerate(servers):
        wrong += check_ip(f"{path}.nameservers[{index}]", server)
    if len(searches) > _MOST_SEARCHES:
        detail = f"must not have more than {_MOST_SEARCHES} search paths"
        wrong.append(fields.invalid(f"{path}.searches", searches, detail))
    if len(" ".join(searches)) > _MOST_SEARCH_CHARACTERS:
        detail = (
            f"must not have more than {_MOST_SEARCH_CHARACTERS} characters (including spaces) in "
            "the search list"
        )
        wrong.append(fields.invalid(f"{path}.searches", searches, detail))
    for index, search in enumerate(searches):
        if search != ".":
            at = f"{path}.searches[{index}]"
            wrong += names.check(at, search.removesuffix("."), names.dns_search)
    for index, entry in enumerate(config.get("options", ())):
        if not entry.get("name"):
            wrong.append(fields.required(f"{path}.options[{index}]", "must not be empty"))
    return wrong
