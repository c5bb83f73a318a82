"""What goes wrong, and when: a list that is made before the run, can be read, and cut down.

    1.250 crash a for 0.800              a loses power; what was not synced is lost; back later
    2.000 partition ab|c for 1.500
    3.100 flip leader 0.41 0.07 3 for 0.600

Every fault stands alone: it says when it begins and how long it lasts, so that any of them can
be left out. Whom `leader` means is found out when its time comes.

    crash M             power is lost
    kill M              the process dies; what it wrote is in the page cache
    blackout            every member loses power
    tear M N            power is lost inside the N-th sync, creation or renaming from now
    full M              the disk takes nothing more: the process must stop
    broken M            fsync fails: the process must stop
    slowdisk M S        every sync takes S seconds, and the process stands still meanwhile
    flip M F O B        power is lost, and in some file some bit of what was durable flips
    segment M F         power is lost, and a segment of the log is gone
    wipe M              the machine comes back with a new disk
    partition X|Y       no message passes between these groups
    oneway A B          none passes from A to B
    slowlink A B S      those from A to B take S longer
    drop P, repeat P    each message is lost, or arrives twice, with this chance
    delay A B           each takes between A and B seconds: they overtake each other
    hide C M            the client C does not reach M
    clock M S           its date jumps by S seconds
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

LEADER = "leader"


@dataclass(frozen=True, slots=True)
class Fault:
    """See the module. Times are virtual seconds since the beginning of the run."""

    at_s: float
    kind: str
    arguments: tuple[str, ...] = ()
    for_s: float = 0.0

    def __str__(self) -> str:
        words = " ".join((self.kind, *self.arguments))
        return f"{self.at_s:.3f} {words} for {self.for_s:.3f}"


def parse(text: str) -> list[Fault]:
    """Read faults, one a line or separated by `;`.

    Raises:
        ValueError: a line is not one.
    """
    faults = []
    for line in text.replace(";", "\n").splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) < 4 or words[-2] != "for" or words[1] not in _KINDS:
            raise ValueError(f"not a fault: {line!r}; expected TIME KIND [ARGUMENT...] for SECONDS")
        faults.append(Fault(float(words[0]), words[1], tuple(words[2:-2]), float(words[-1])))
    return faults


def render(faults: Sequence[Fault]) -> str:
    """Return the text that `parse` reads, on one line."""
    return "; ".join(str(fault) for fault in faults)


# ---- chance

_ONE_MEMBER = {"crash": 14, "kill": 8, "tear": 10, "full": 3, "broken": 3, "slowdisk": 5}
_DAMAGE = {"flip": 5, "segment": 3, "wipe": 4}
_LINKS = {"partition": 14, "oneway": 7, "slowlink": 5, "drop": 5, "repeat": 5, "delay": 6}
_OTHERS = {"blackout": 2, "hide": 4, "clock": 3}
_KINDS = {**_ONE_MEMBER, **_DAMAGE, **_LINKS, **_OTHERS}


def generate(
    rng: Random, members: Sequence[str], clients: Sequence[str], length_s: float
) -> list[Fault]:
    """Return the faults of one run; calm runs and stormy ones are both among them."""
    weights = dict(_KINDS) if len(members) > 1 else {**_ONE_MEMBER, **_DAMAGE, **_OTHERS}
    for kind in list(weights):  # each run has its own character
        weights[kind] = round(weights[kind] * rng.choice([0, 1, 1, 3]))
    weights["crash"] += 1
    rate = rng.choice([0.5, 2.0, 4.0])  # faults a second
    faults = []
    at_s = rng.uniform(0.2, 2.0)
    while at_s < length_s:
        (kind,) = rng.choices(list(weights), list(weights.values()))
        for_s = min(math.exp(rng.uniform(math.log(0.05), math.log(3.0))), 3.0)
        faults.append(_round(at_s, kind, _arguments(rng, kind, members, clients), for_s))
        at_s += rng.expovariate(rate)
    return faults


def _round(at_s: float, kind: str, arguments: tuple[str, ...], for_s: float) -> Fault:
    """What is printed must be what was run."""
    return Fault(round(at_s, 3), kind, arguments, round(for_s, 3))


def _arguments(
    rng: Random, kind: str, members: Sequence[str], clients: Sequence[str]
) -> tuple[str, ...]:
    one = LEADER if rng.random() < 0.35 else rng.choice(members)
    if kind in _PARAMETERS:
        return (one, *(draw(rng) for draw in _PARAMETERS[kind]))
    if kind in _BETWEEN:
        return tuple(draw(rng) for draw in _BETWEEN[kind])
    if kind == "partition":
        return (_partition(rng, members),)
    if kind in ("oneway", "slowlink"):
        extra = (f"{rng.uniform(0.01, 0.6):.3f}",) if kind == "slowlink" else ()
        return (*rng.sample(members, 2), *extra)
    if kind == "hide":
        return (rng.choice(clients), one)
    return () if kind == "blackout" else (one,)


_PARAMETERS: dict[str, list[Callable[[Random], str]]] = {
    "tear": [lambda rng: str(rng.randrange(12))],
    "slowdisk": [lambda rng: rng.choice(["0.002", "0.02", "0.2"])],
    "flip": [
        lambda rng: f"{rng.random():.3f}",
        lambda rng: f"{rng.random():.5f}",
        lambda rng: str(rng.randrange(8)),
    ],
    "segment": [lambda rng: f"{rng.random():.3f}"],
    "clock": [lambda rng: rng.choice(["-3600", "-5", "5", "86400"])],
}
_BETWEEN: dict[str, list[Callable[[Random], str]]] = {
    "drop": [lambda rng: rng.choice(["0.02", "0.20"])],
    "repeat": [lambda rng: rng.choice(["0.02", "0.20"])],
    "delay": [lambda _: "0.001", lambda rng: rng.choice(["0.02", "0.08"])],
}


def _partition(rng: Random, members: Sequence[str]) -> str:
    if rng.random() < 0.4:
        return f"{LEADER}|*"
    apart = set(rng.sample(members, rng.randrange(1, len(members))))
    return "".join(sorted(apart)) + "|" + "".join(sorted(set(members) - apart))
