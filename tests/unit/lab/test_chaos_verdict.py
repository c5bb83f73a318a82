"""The verdict of an experiment: what breaks the failure contract and what does not."""

import json

import pytest

from lablib.chaos.clients import Report, Second, manifest, parse
from lablib.chaos.rest import parse_head
from lablib.chaos.verdict import (
    Fault,
    Verdict,
    judge_resumption,
    judge_traffic,
    judge_writes,
    resumed_after,
)
from lablib.chaos.writers import Ack, Ledger


def ledger(created: set[str], counters: dict[str, int]) -> Ledger:
    acks = [Ack(0.0, 0.1)] * (len(created) + sum(counters.values()))
    return Ledger(acks=acks, created=created, counters=counters, attempts=len(acks))


@pytest.mark.parametrize(
    ("kept", "broken"),
    [
        ({"a": 2, "b": 0}, []),
        ({"a": 3, "b": 1, "unknown": 0}, []),  # unacknowledged writes may have been applied
        ({"a": 2}, ["acknowledged objects are gone: b"]),
        ({"a": 1, "b": 0}, ["acknowledged changes are gone: a"]),
    ],
)
def test_an_acknowledged_write_must_be_there(kept: dict[str, int], broken: list[str]) -> None:
    verdict = Verdict()
    judge_writes(verdict, ledger({"a", "b"}, {"a": 2}), kept)
    assert verdict.broken == broken


def test_an_experiment_without_load_proves_nothing() -> None:
    verdict = Verdict()
    judge_writes(verdict, Ledger(), {})
    judge_traffic(verdict, [Report("node-1")])
    assert len(verdict.broken) == 2


def report(*, http_failed: int = 0, dns_failed: int = 0) -> Report:
    return Report("node-1", [Second(100, 20, http_failed, 20, dns_failed, ("http: refused",))])


@pytest.mark.parametrize(
    ("given", "allowed", "broken"),
    [
        (report(), False, 0),
        (report(http_failed=1), False, 1),
        (report(dns_failed=1), False, 1),
        (report(http_failed=1, dns_failed=1), True, 0),
    ],
)
def test_one_failed_request_breaks_the_contract(given: Report, allowed: bool, broken: int) -> None:
    verdict = Verdict()
    judge_traffic(verdict, [given], allowed=allowed)
    assert len(verdict.broken) == broken
    assert "http: refused" in "\n".join(verdict.lines)


def test_resumption_counts_only_writes_sent_after_the_fault() -> None:
    acks = [Ack(1.0, 1.1), Ack(9.9, 10.3), Ack(10.1, 10.4), Ack(10.5, 10.6), Ack(10.4, 10.9)]
    fault = Fault(began_s=10.0, done_s=10.2)  # what was sent in between may have met the victim
    assert resumed_after(acks, fault) == pytest.approx(0.6)
    assert resumed_after(acks[:3], fault) is None


@pytest.mark.parametrize(
    ("outages", "broken"),
    [([0.5, 0.9, 1.9], 0), ([0.5, 0.6, 2.1], 1), ([1.1, 1.2, 1.3], 1), ([1.1, 2.5], 2), ([], 1)],
)
def test_writes_resume_in_time(outages: list[float], broken: int) -> None:
    verdict = Verdict()
    judge_resumption(verdict, outages, p50_s=1.0, worst_s=2.0)
    assert len(verdict.broken) == broken


def test_a_client_reads_its_own_log_back() -> None:
    line = {"second": 7, "http": [20, 1], "dns": [19, 0], "errors": ["http: timed out"]}
    found = parse("node-1", ["Traceback ...", json.dumps(line)])
    assert found.seconds == [Second(7, 20, 1, 19, 0, ("http: timed out",))]
    assert found.between(8, 9).seconds == []


def test_a_client_pod_is_pinned_to_its_node_and_tolerates_everything() -> None:
    pod = json.loads(manifest("chaos-1", "node-2", "10.96.0.7"))
    assert pod["spec"]["nodeName"] == "node-2"
    assert pod["spec"]["containers"][0]["command"][3:] == [
        "10.96.0.7",
        "echo.demo.svc.cluster.local",
    ]
    compile(pod["spec"]["containers"][0]["command"][2], "client", "exec")


def test_answers_are_parsed_whatever_the_case_of_their_headers() -> None:
    head = b"HTTP/1.1 201 Created\r\nContent-LENGTH: 12\r\nTransfer-Encoding: Chunked\r\n\r\n"
    assert parse_head(head) == (201, {"content-length": "12", "transfer-encoding": "chunked"})
    with pytest.raises(ValueError, match="not HTTP"):
        parse_head(b"SSH-2.0-OpenSSH 9\r\n\r\n")
