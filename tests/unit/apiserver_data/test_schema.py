"""What is stored was type-checked: messages, normal forms, unknown fields."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api import kinds
from wherry.api.errors import BadRequestError, InternalError
from wherry.api.kinds import Kind
from wherry.api.quantity import parse_quantity
from wherry.apiserver.discovery import VIRTUAL
from wherry.apiserver.resources import RESOURCES
from wherry.apiserver.schema import get_schema, normalize, scalar

ROOT = Path(__file__).resolve().parents[3]


def test_the_committed_definitions_are_what_the_script_generates() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts/schema"), "--check"], check=False)
    assert done.returncode == 0


def test_every_row_and_every_body_has_a_definition() -> None:
    schema = get_schema()
    for row in (*RESOURCES, *VIRTUAL):
        assert schema.knows(row.kind), row.kind
        if row.storage_prefix:
            listed = (row.kind.group, row.kind.version, f"{row.kind.kind}List")
            assert schema.knows(listed), listed
        for sub in row.subresources:
            streamed = sub.name in ("exec", "attach", "portforward", "proxy")
            assert streamed or sub.body is None or schema.knows(sub.body), sub
    assert schema.knows(("apps", "v1", "DeleteOptions"))


def pod(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


def container(**fields: Any) -> dict[str, Any]:
    return pod(containers=[{"name": "c", **fields}])


@pytest.mark.parametrize(
    ("kind", "obj", "message"),
    [
        (
            kinds.DEPLOYMENT,
            {"spec": {"replicas": "3"}},
            'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal '
            "string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            kinds.POD,
            container(image=True),
            'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal bool into Go '
            "struct field Container.spec.containers.image of type string",
        ),
        (
            kinds.DEPLOYMENT,
            {
                "spec": {
                    "template": {"spec": {"containers": [{"env": [{"name": "a", "value": 1}]}]}}
                }
            },
            'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal '
            "number into Go struct field EnvVar.spec.template.spec.containers.env.value of type "
            "string",
        ),
        (
            kinds.DEPLOYMENT,
            {"spec": {"replicas": 1.5}},
            'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal '
            "number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            kinds.DEPLOYMENT,
            {"spec": {"replicas": 2**31}},
            'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal '
            "number 2147483648 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            kinds.CONFIG_MAP,
            {"data": {"a": 1}},
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal '
            "number into Go struct field ConfigMap.data of type string",
        ),
        (
            kinds.POD,
            pod(containers={}),
            'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal object into '
            "Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            kinds.POD,
            container(resources={"limits": {"cpu": "much"}}),
            'Pod in version "v1" cannot be handled as a Pod: quantities must match the regular '
            "expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            kinds.SECRET,
            {"data": {"a": "not base64!"}},
            'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input '
            "byte 3",
        ),
        (
            kinds.SERVICE,
            {"spec": {"ports": [{"port": 1, "targetPort": True}]}},
            'Service in version "v1" cannot be handled as a Service: json: cannot unmarshal bool '
            "into Go value of type int32",
        ),
        (
            kinds.LEASE,
            {"spec": {"renewTime": "yesterday"}},
            'Lease in version "v1" cannot be handled as a Lease: parsing time "yesterday" as '
            '"2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"',
        ),
        (
            kinds.POD,
            {"metadata": {"deletionTimestamp": "2026-13-01T00:00:00Z"}},
            'Pod in version "v1" cannot be handled as a Pod: parsing time "2026-13-01T00:00:00Z": '
            "month out of range",
        ),
    ],
)
def test_wrong_types_are_refused_as_upstream_words_it(
    kind: Kind, obj: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        normalize(kind, obj)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("given_obj", "stored"),
    [
        ({"metadata": {"creationTimestamp": None, "labels": None}}, {"metadata": {}}),
        ({"metadata": {"annotations": {"a": None}}}, {"metadata": {"annotations": {"a": ""}}}),
        (
            container(resources={"limits": {"cpu": 1, "memory": "1024Mi"}}),
            container(resources={"limits": {"cpu": "1", "memory": "1Gi"}}),
        ),
        (container(args=["a", None]), container(args=["a", ""])),
        (
            {"metadata": {"deletionTimestamp": "2026-01-02T03:04:05.678+01:00"}},
            {"metadata": {"deletionTimestamp": "2026-01-02T02:04:05Z"}},
        ),
        ({"metadata": {"creationTimestamp": "0001-01-01T00:00:00Z"}}, {"metadata": {}}),
        ({"metadata": {"nmae": "x"}, "status": {}}, {"metadata": {}, "status": {}}),
        ({"metadata": {"managedFields": [{"fieldsV1": {"f:x": {}}}]}},) * 2,
    ],
)
def test_normal_forms(given_obj: dict[str, Any], stored: dict[str, Any]) -> None:
    before = repr(given_obj)
    assert normalize(kinds.POD, given_obj, "Ignore") == (stored, [])
    assert repr(given_obj) == before


def test_micro_times_get_six_digits() -> None:
    obj, _ = normalize(kinds.LEASE, {"spec": {"renewTime": "2026-01-02T03:04:05Z"}})
    assert obj == {"spec": {"renewTime": "2026-01-02T03:04:05.000000Z"}}


def test_unknown_fields_by_field_validation() -> None:
    obj = container(imag="x")
    obj["spec"]["nodeSelektor"] = {}
    paths = ["spec.containers[0].imag", "spec.nodeSelektor"]
    clean = container()
    assert normalize(kinds.POD, obj, "Ignore") == (clean, [])
    assert normalize(kinds.POD, obj, "Warn") == (clean, [f'unknown field "{p}"' for p in paths])
    with pytest.raises(BadRequestError) as caught:
        normalize(kinds.POD, obj, "Strict")
    assert caught.value.message == (
        'Pod in version "v1" cannot be handled as a Pod: strict decoding error: '
        'unknown field "spec.containers[0].imag", unknown field "spec.nodeSelektor"'
    )


def test_our_own_kinds() -> None:
    lease = {
        "metadata": {"name": "10.244.1.0-24"},
        "PublicIP": "192.0.2.1",
        "BackendType": "vxlan",
        "BackendData": {"VNI": 1, "VtepMAC": "aa:bb:cc:dd:ee:ff"},
        "Expiration": "2026-01-02T03:04:05Z",
        "node": "n1",
    }
    assert normalize(kinds.SUBNET_LEASE, lease, "Strict") == (lease, [])
    config = {
        "metadata": {"name": "config"},
        "Network": "10.244.0.0/16",
        "SubnetLen": 24,
        "SubnetMin": "10.244.1.0",
        "SubnetMax": "10.244.255.0",
        "Backend": {"Type": "vxlan", "VNI": 1, "Port": 8472, "DirectRouting": True},
    }
    assert normalize(kinds.NETWORK_CONFIG, config, "Strict") == (config, [])
    with pytest.raises(BadRequestError, match=r"NetworkBackend\.Backend\.VNI of type int32"):
        normalize(kinds.NETWORK_CONFIG, {"Backend": {"VNI": "1"}})


def test_a_kind_without_definition_is_our_bug() -> None:
    with pytest.raises(InternalError):
        normalize(("x", "v1", "Nothing"), {})


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"),
        ("0Ki", "0"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1024", "1024"),
        ("1024Ki", "1Mi"),
        ("1536Mi", "1536Mi"),
        ("0.5Gi", "512Mi"),
        ("0.9765625Ki", "1k"),
        ("512Ki", "512Ki"),
        ("1Ki", "1Ki"),
        ("100000", "100k"),
        ("1e3", "1e3"),
        ("12E6", "12e6"),
        ("-1000m", "-1"),
        ("0.1n", "1n"),
        (".5", "500m"),
        ("1E", "1E"),
    ],
)
def test_quantities_become_canonical(text: str, canonical: str) -> None:
    assert scalar.quantity(text) == canonical


@given(
    st.integers(-(10**6), 10**6),
    st.integers(0, 3),
    st.sampled_from(["", "n", "u", "m", "k", "M", "Ki", "Mi", "Gi", "e3", "E-3"]),
)
def test_canonical_quantities_keep_their_value(number: int, digits: int, suffix: str) -> None:
    text = f"{number / 10**digits:.{digits}f}{suffix}"
    canonical = scalar.quantity(text)
    nano = 10**-9
    assert abs(parse_quantity(canonical) - parse_quantity(text)) < nano
    assert scalar.quantity(canonical) == canonical


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metadata", "spec", "name", "containers", "labels", "env", "ports"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_either_refused_or_normal(value: Any) -> None:
    if not isinstance(value, dict):
        with pytest.raises(BadRequestError):
            normalize(kinds.POD, value)
        return
    try:
        stored, _ = normalize(kinds.POD, value)
    except BadRequestError:
        return
    assert normalize(kinds.POD, stored, "Strict") == (stored, [])
