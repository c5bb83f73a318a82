"""Any object that the schema lets through: rules never raise, defaults settle, valid stays valid."""

import copy
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wherry.api.kinds import Kind
from wherry.apiserver.schema import get_schema, normalize
from wherry.apiserver.schema.definitions import INT_OR_STRING, MICRO_TIME, QUANTITY, TIME
from wherry.apiserver.strategy import STRATEGIES, fields, strategy_for
from wherry.apiserver.strategy.metadata import validate_metadata, validate_metadata_update

SCHEMA = get_schema()
WORDS = (
    *(
        "",
        "a",
        "web",
        "A_b",
        "-",
        "a.b",
        "a/b",
        "/",
        "/x",
        "..",
        "../x",
        "x" * 70,
        "*.a.b",
        "*",
        "é",
    ),
    *("Always", "Never", "OnFailure", "RollingUpdate", "Recreate", "OnDelete", "Indexed", "Exact"),
    *(
        "Exists",
        "In",
        "NotIn",
        "Equal",
        "NoExecute",
        "None",
        "Local",
        "LoadBalancer",
        "ExternalName",
    ),
    *("Resource", "Object", "Utilization", "Container", "Pod", "User", "Localhost", "Unmasked"),
    *(
        "TCP",
        "10.0.0.1",
        "::1",
        "10.0.0.0/8",
        "50%",
        "0%",
        "300%",
        "80",
        "1m",
        "* * * * *",
        "@daily",
    ),
    *("@every 5m", "*/5 1-3 * jan mon", "Europe/Berlin", "kubernetes.io/tls", "metadata.name", "%"),
    *("Bidirectional", "Block", "ReadWriteOnce", "system-node-critical", "IPv4", "FQDN", "v1"),
)
KEYS = ("a", "app", "a/b", "cpu", "memory", "storage", "hugepages-2Mi", "x.y/gpu", "pods", "..", "")
NUMBERS = (-1, 0, 1, 2, 80, 443, 10250, 70000, 1 << 20, (1 << 31) - 1)
QUANTITIES = ("0", "1", "100m", "1Gi", "-1", "1500m", 1, 0.5)
PLAIN: dict[tuple[str, str], tuple[Any, ...]] = {
    ("string", ""): WORDS,
    ("string", "byte"): ("", "eA==", "e30="),
    ("integer", ""): NUMBERS,
    ("boolean", ""): (False, True),
    ("number", ""): (0.5, 1.0),
    ("object", ""): ({},),
}
TIMES = ("2026-11-20T10:00:00Z",)


class Maker:
    """Makes objects of a type: any field may be there, with any value of its type."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def value(self, schema: dict[str, Any], depth: int) -> Any:
        """Return a value of a schema, smaller the deeper it stands."""
        reference = schema.get("$ref")
        if reference is not None:
            return self.named(reference, depth)
        kind = schema.get("type", "")
        if kind == "array":
            few = range(self._rng.choice((0, 1, 1, 2)))
            return [self.value(schema["items"], depth + 1) for _ in few]
        if kind == "object" and "additionalProperties" in schema:
            keys = self._rng.sample(KEYS, self._rng.randrange(3))
            return {key: self.value(schema["additionalProperties"], depth + 1) for key in keys}
        form = schema.get("format", "")
        return copy.copy(self._rng.choice(PLAIN.get((kind, form)) or PLAIN[kind, ""]))

    def named(self, name: str, depth: int) -> Any:
        """Return a value of a named type."""
        if name == QUANTITY:
            return self._rng.choice(QUANTITIES)
        if name == INT_OR_STRING:
            return self._rng.choice((*NUMBERS, *WORDS))
        if name in (TIME, MICRO_TIME):
            return self._rng.choice(TIMES)
        properties = SCHEMA.definitions.types.get(name, {}).get("properties", {})
        chance = 0.9 if depth == 0 else 0.45 if depth < 5 else 0.12
        return {
            field: None if self._rng.random() < 0.02 else self.value(schema, depth + 1)
            for field, schema in properties.items()
            if self._rng.random() < chance
        }


def kinds_known() -> list[Kind]:
    found = []
    for api_version, kind in STRATEGIES:
        group, _, version = api_version.rpartition("/")
        each = Kind(group, version, kind, kind.lower() + "s")
        if SCHEMA.knows(each):
            found.append(each)
    return found


def made(kind: Kind, rng: random.Random) -> dict[str, Any]:
    name = SCHEMA.definitions.name(kind)
    assert name is not None
    obj, _ = normalize(kind, Maker(rng).named(name, 0), "Strict")
    obj.setdefault("metadata", {}).setdefault("name", "x")
    return obj


KINDS = kinds_known()


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: f"{k.api_version}/{k.kind}")
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 32))
def test_rules_never_raise_and_defaults_settle(kind: Kind, seed: int) -> None:
    rng = random.Random(seed)
    strategy = strategy_for(kind)
    obj, other = made(kind, rng), made(kind, rng)
    for each in (obj, other):
        strategy.prepare_create(each)
        strategy.default(each)
    once = copy.deepcopy(obj)
    strategy.default(obj)
    assert obj == once, "defaulting twice is not defaulting once"
    causes = strategy.validate(obj) + strategy.validate_create(obj)
    causes += validate_metadata(obj["metadata"], strategy.check_name, namespaced=True)
    assert obj == once, "validating changed the object"
    assert strategy.validate_update(obj, once) == [], "an update that changes nothing is refused"
    causes += strategy.validate_status(obj, other)
    causes += validate_metadata_update(other["metadata"], obj["metadata"])
    strategy.prepare_update(other, obj)
    strategy.default(other)
    causes += strategy.validate_update(other, obj)
    strategy.prepare_status(other, obj)
    for cause in causes:
        assert cause.reason.startswith("FieldValue"), cause
        assert cause.message, cause


@pytest.mark.parametrize("field", ["containers", "tolerations", "volumes", "hostAliases"])
def test_an_answer_holds_what_somebody_can_read(field: str) -> None:
    """Three bytes an entry must not become hundreds: a body of 3 MB made a Status of 1 GB."""
    pod = strategy_for(Kind("", "v1", "Pod", "pods"))
    obj: dict[str, Any] = {"spec": {"containers": [], field: [{} for _ in range(20_000)]}}
    pod.default(obj)
    causes = fields.collect(lambda: pod.validate(obj), lambda: pod.validate_create(obj))
    assert len(causes) == fields.MOST
    assert causes == pod.validate(obj)[: fields.MOST]
    assert fields.collect(list, lambda: [fields.required("a")]) == [fields.required("a")]
