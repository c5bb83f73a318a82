"""What an experiment cost, and whether that keeps the failure contract. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from lablib.chaos.clients import Report
from lablib.chaos.writers import Ack, Ledger


@dataclass(slots=True)
class Verdict:
    """Lines to print, and the promises that were broken."""

    lines: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Add a line."""
        self.lines.append(line)

    def demand(self, holds: bool, otherwise: str) -> None:  # noqa: FBT001  # like an assertion
        """Record a broken promise, unless it holds."""
        if not holds:
            self.broken.append(otherwise)


@dataclass(frozen=True, slots=True)
class Fault:
    """When something was broken, on the monotonic clock: before and after it happened."""

    began_s: float
    done_s: float


def judge_writes(verdict: Verdict, ledger: Ledger, kept: Mapping[str, int]) -> None:
    """Nothing acknowledged may be missing or older than what was acknowledged."""
    missing = sorted(ledger.created - kept.keys())
    older = sorted(
        name for name, value in ledger.counters.items() if name in kept and kept[name] < value
    )
    verdict.say(
        f"writes: {len(ledger.acks)} acknowledged of {ledger.attempts} sent, "
        f"{ledger.unanswered} without an answer; "
        f"acknowledged and gone: {len(missing)}, acknowledged and reverted: {len(older)}"
    )
    verdict.demand(bool(ledger.acks), "no write was acknowledged at all: nothing was tested")
    verdict.demand(not missing, f"acknowledged objects are gone: {' '.join(missing[:10])}")
    verdict.demand(not older, f"acknowledged changes are gone: {' '.join(older[:10])}")
    verdict.demand(not ledger.refused, f"writes were refused: {ledger.refused[:3]}")


def judge_traffic(verdict: Verdict, reports: Sequence[Report], *, allowed: bool = False) -> None:
    """No request and no name may fail (unless failures are `allowed`: then they are only told)."""
    for report in reports:
        http_ok = sum(s.http_ok for s in report.seconds)
        http_failed = sum(s.http_failed for s in report.seconds)
        dns_ok = sum(s.dns_ok for s in report.seconds)
        dns_failed = sum(s.dns_failed for s in report.seconds)
        verdict.say(
            f"from {report.node}: {http_ok + http_failed} requests to the Service, {http_failed} "
            f"failed; {dns_ok + dns_failed} names asked, {dns_failed} not resolved"
        )
        errors = sorted({error for s in report.seconds for error in s.errors})
        for error in errors[:5]:
            verdict.say(f"    {error}")
        if not allowed:
            verdict.demand(http_failed == 0, f"{http_failed} requests from {report.node} failed")
            verdict.demand(dns_failed == 0, f"{dns_failed} names on {report.node} not resolved")
        verdict.demand(
            http_ok + dns_ok > 0, f"the client on {report.node} got no answer: nothing was tested"
        )


def resumed_after(acks: Sequence[Ack], fault: Fault) -> float | None:
    """Seconds from a fault to the first acknowledged write that was sent when it was done.

    A write that was on its way at the time may have been acknowledged by the victim.
    """
    recent = takewhile(lambda ack: ack.acked_s >= fault.done_s, reversed(acks))
    later = [ack.acked_s for ack in recent if ack.sent_s >= fault.done_s]
    return min(later) - fault.began_s if later else None


def judge_resumption(
    verdict: Verdict, outages_s: Sequence[float], *, p50_s: float, worst_s: float
) -> None:
    """Writes resume within the contract's times after each kill."""
    if not outages_s:
        verdict.demand(holds=False, otherwise="writes never resumed")
        return
    p50, worst = statistics.median(outages_s), max(outages_s)
    each = " ".join(f"{outage:.2f}" for outage in outages_s)
    verdict.say(f"writes resumed after: p50 {p50:.2f} s, worst {worst:.2f} s (each: {each})")
    verdict.demand(p50 < p50_s, f"p50 of {p50:.2f} s is not under {p50_s:g} s")
    verdict.demand(worst < worst_s, f"worst of {worst:.2f} s is not under {worst_s:g} s")
