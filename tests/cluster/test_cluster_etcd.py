"""Debian's etcdctl, unchanged, against the stores."""

import json
import secrets
import subprocess

import pytest
from lab_cluster import LAB, Lab, Lines, until

pytestmark = pytest.mark.cluster


def test_keys_lie_where_kubernetes_and_flannel_put_them(lab: Lab) -> None:
    def keys(prefix: str) -> list[str]:
        return lab("etcdctl", "--", "get", "--prefix", "--keys-only", prefix).split()

    assert "/registry/deployments/demo/echo" in keys("/registry/deployments/")
    assert "/registry/services/specs/demo/echo" in keys("/registry/services/")
    # A pod that an experiment before this made superfluous may still be on its way out.
    until(lambda: len(keys("/registry/pods/demo/echo-")) == 4, "the demo's four pods")


def test_put_get_and_watch(lab: Lab) -> None:
    key, value = f"/test/{secrets.token_hex(4)}", secrets.token_hex(8)
    watch = [str(LAB), "etcdctl", "--name", lab.name, "--", "watch", key]
    with subprocess.Popen(watch, stdout=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        lines = Lines(watching.stdout.fileno())
        try:

            def seen() -> bool:
                """A watch says nothing when it begins, so the value is put until it is seen."""
                assert lab("etcdctl", "--", "put", key, value).strip() == "OK"
                try:
                    return lines.wait_for(value, timeout_s=1) == value
                except AssertionError:
                    return False

            until(seen, "the watch")
        finally:
            watching.kill()
    assert lab("etcdctl", "--", "get", "--print-value-only", key).strip() == value
    assert lab("etcdctl", "--", "del", key).strip() == "1"


def test_endpoint_status_shows_three_members_and_one_leader(lab: Lab) -> None:
    def named() -> bool:
        """Whether all three name one of them; they are asked in turn, and one may be elected."""
        answers = json.loads(lab("etcdctl", "--", "endpoint", "status", "-w", "json"))
        statuses = [answer["Status"] for answer in answers]
        members = {status["header"]["member_id"] for status in statuses}
        assert len(members) == 3
        leaders = {status.get("leader", 0) for status in statuses}
        return len(leaders) == 1 and leaders <= members

    until(named, "one leader")
