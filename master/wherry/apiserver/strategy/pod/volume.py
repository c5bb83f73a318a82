"""Rules for volumes: core `ValidateVolumes`. Kinds that nobody here mounts are only counted."""

from typing import Any

from wherry.api.errors import Cause, InvalidQuantityError
from wherry.api.quantity import parse_quantity
from wherry.apiserver.strategy import fields, names

Object = dict[str, Any]
_HOST_PATH_TYPES = (
    "",
    "DirectoryOrCreate",
    "Directory",
    "FileOrCreate",
    "File",
    "Socket",
    "CharDevice",
    "BlockDevice",
)
_MOST_MODE = 0o777


def validate_volumes(path: str, volumes: list[Object]) -> tuple[dict[str, Object], list[Cause]]:
    """Return the volumes by name, for the mounts to refer to, and what is wrong with them."""
    wrong: list[Cause] = []
    found: dict[str, Object] = {}
    for index, volume in enumerate(volumes):
        at, name = f"{path}[{index}]", volume.get("name", "")
        if not name:
            wrong.append(fields.required(f"{at}.name"))
        else:
            wrong += names.check(f"{at}.name", name, names.dns1123_label)
            if name in found:
                wrong.append(fields.duplicate(f"{at}.name", name))
            found[name] = volume
        wrong += _source(at, volume)
    return found, wrong


def _source(path: str, volume: Object) -> list[Cause]:
    kinds = [k for k, v in volume.items() if k != "name" and v is not None]
    if not kinds:
        return [fields.required(path, "must specify a volume type")]
    wrong = [
        fields.forbidden(f"{path}.{kind}", "may not specify more than 1 volume type")
        for kind in kinds[1:]
    ]
    check = _CHECKS.get(kinds[0])
    return wrong + (check(f"{path}.{kinds[0]}", volume[kinds[0]]) if check else [])


def _host_path(path: str, source: Object) -> list[Cause]:
    where, kind = source.get("path", ""), source.get("type", "")
    wrong: list[Cause] = []
    if not where:
        wrong.append(fields.required(f"{path}.path"))
    elif ".." in where.split("/"):
        wrong.append(fields.invalid(f"{path}.path", where, "must not contain '..'"))
    if kind not in _HOST_PATH_TYPES:
        wrong.append(fields.unsupported(f"{path}.type", kind, _HOST_PATH_TYPES))
    return wrong


def _empty_dir(path: str, source: Object) -> list[Cause]:
    limit = source.get("sizeLimit")
    if limit is None:
        return []
    try:
        negative = parse_quantity(str(limit)) < 0
    except InvalidQuantityError as error:
        return [fields.invalid(f"{path}.sizeLimit", limit, str(error))]
    detail = "SizeLimit field must be a valid resource quantity"
    return [fields.forbidden(f"{path}.sizeLimit", detail)] if negative else []


def _secret(path: str, source: Object) -> list[Cause]:
    wrong = [] if source.get("secretName") else [fields.required(f"{path}.secretName")]
    return wrong + _mode(path, source) + _items(path, source)


def _config_map(path: str, source: Object) -> list[Cause]:
    wrong = [] if source.get("name") else [fields.required(f"{path}.name")]
    return wrong + _mode(path, source) + _items(path, source)


def _downward(path: str, source: Object) -> list[Cause]:
    wrong = _mode(path, source)
    for index, item in enumerate(source.get("items", ())):
        at = f"{path}.items[{index}]"
        wrong += _relative(f"{at}.path", item.get("path", ""))
        if ("fieldRef" in item) == ("resourceFieldRef" in item):
            wrong.append(fields.required(at, "one of fieldRef and resourceFieldRef is required"))
    return wrong


def _projected(path: str, source: Object) -> list[Cause]:
    wrong = _mode(path, source)
    for index, each in enumerate(source.get("sources", ())):
        at = f"{path}.sources[{index}]"
        if "configMap" in each:
            wrong += _config_map(f"{at}.configMap", each["configMap"])
        if "secret" in each:
            if not each["secret"].get("name"):
                wrong.append(fields.required(f"{at}.secret.name"))
            wrong += _items(f"{at}.secret", each["secret"])
        if "downwardAPI" in each:
            wrong += _downward(f"{at}.downwardAPI", each["downwardAPI"])
        token = each.get("serviceAccountToken")
        if token is not None:
            wrong += _relative(f"{at}.serviceAccountToken.path", token.get("path", ""))
            if token.get("expirationSeconds", 3600) < 600:
                detail = "may not specify a duration less than 10 minutes"
                where = f"{at}.serviceAccountToken.expirationSeconds"
                wrong.append(fields.invalid(where, token["expirationSeconds"], detail))
    return wrong


def _claim(path: str, source: Object) -> list[Cause]:
    return [] if source.get("claimName") else [fields.required(f"{path}.claimName")]


def _items(path: str, source: Object) -> list[Cause]:
    wrong: list[Cause] = []
    for index, item in enumerate(source.get("items", ())):
        at = f"{path}.items[{index}]"
        if not item.get("key"):
            wrong.append(fields.required(f"{at}.key"))
        wrong += _relative(f"{at}.path", item.get("path", ""))
        wrong += _mode(at, item, "mode")
    return wrong


def _relative(path: str, text: str) -> list[Cause]:
    if not text:
        return [fields.required(path)]
    wrong: list[Cause] = []
    if text.startswith("/"):
        wrong.append(fields.invalid(path, text, "must be a relative path"))
    if ".." in text.split("/"):
        wrong.append(fields.invalid(path, text, "must not contain '..'"))
    elif text.startswith(".."):
        wrong.append(fields.invalid(path, text, "must not start with '..'"))
    return wrong


def _mode(path: str, source: Object, field: str = "defaultMode") -> list[Cause]:
    mode = source.get(field)
    if mode is None or 0 <= mode <= _MOST_MODE:
        return []
    detail = "must be a number between 0 and 0777 (octal), both inclusive"
    return [fields.invalid(f"{path}.{field}", mode, detail)]


_CHECKS = {
    "hostPath": _host_path,
    "emptyDir": _empty_dir,
    "secret": _secret,
    "configMap": _config_map,
    "downwardAPI": _downward,
    "projected": _projected,
    "persistentVolumeClaim": _claim,
}
