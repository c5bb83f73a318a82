"""Views decode what the API server sends, and no more."""

import pytest

from wherry.api.objects import Decoder, Node, Pod, Taint, Toleration
from wherry.api.times import format_micro_time, format_time, parse_time

GPU = Taint(key="gpu", effect="NoSchedule", value="yes")


@pytest.mark.parametrize(
    ("toleration", "tolerates"),
    [
        (Toleration(key="gpu", value="yes"), True),
        (Toleration(key="gpu", value="no"), False),
        (Toleration(key="gpu", operator="Exists"), True),
        (Toleration(operator="Exists"), True),
        (Toleration(key="gpu", operator="Exists", effect="NoExecute"), False),
        (Toleration(key="other", operator="Exists"), False),
        (Toleration(), False),
    ],
)
def test_tolerates(toleration: Toleration, tolerates: bool) -> None:
    assert toleration.tolerates(GPU) is tolerates


def test_a_pod_is_decoded_by_its_wire_names_and_unknown_fields_are_skipped() -> None:
    raw = b"""{"metadata":{"name":"a","namespace":"n","deletionTimestamp":null,"new":1},
      "spec":{"nodeName":"n1","containers":[{"name":"c","ports":[{"containerPort":80,"hostIP":"1.2.3.4"}]}]},
      "status":{"podIP":"10.0.0.1","hostIP":"h","conditions":[{"type":"Ready","status":"True"}]}}"""
    pod = Decoder(Pod)(raw)
    assert pod.metadata.key == "n/a"
    assert not pod.metadata.deleting
    assert pod.ready
    assert pod.active
    assert pod.spec.containers[0].ports[0].host_ip == "1.2.3.4"
    assert (pod.status.pod_ip, pod.status.host_ip) == ("10.0.0.1", "h")


def test_a_node_without_addresses_has_no_internal_ip() -> None:
    assert Decoder(Node)(b'{"metadata":{"name":"n"}}').internal_ip == ""


def test_times_round_trip() -> None:
    assert format_time(parse_time("2026-11-20T10:00:00Z")) == "2026-11-20T10:00:00Z"
    assert parse_time("2026-11-20T10:00:00+01:00") == parse_time("2026-11-20T09:00:00Z")
    assert format_micro_time(1.25) == "1970-01-01T00:00:01.250000Z"
    with pytest.raises(ValueError, match="time zone"):
        parse_time("2026-11-20T10:00:00")
