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
    say M WHAT          power is lost right after a message of that kind has left (Vote, Ack, Append)
    deaf M              nothing reaches it, and what it says arrives
    handover            whoever leads has somebody else lead
    add N               N is added as a learner, starts, and is promoted when it has everything
    voter N             N is added as a voter, and starts
    remove M            M is removed for good
    replace M N         M's machine is lost: it is removed, and N is added in its place

A change of members is an operator's work (`store_operator.py`), who waits for so long before he
goes on with it. Who is not there (yet, or any more) is somebody else of those who are.
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

_ONE_MEMBER = {"crash": 14, "kill": 8, "tear": 10, "full": 3, "broken": 3, "slowdisk": 5, "say": 12}
_DAMAGE = {"flip": 5, "segment": 3, "wipe": 4}
_LINKS = {"partition": 14, "oneway": 7, "slowlink": 5, "drop": 5, "repeat": 5, "delay": 6}
_LINKS |= {"deaf": 4, "handover": 6}
_OTHERS = {"blackout": 2, "hide": 4, "clock": 3}
_MEMBERS = {"add": 5, "voter": 2, "remove": 5, "replace": 5}
_KINDS = {**_ONE_MEMBER, **_DAMAGE, **_LINKS, **_OTHERS, **_MEMBERS}
_NEWCOMERS = "fghijklmnopq"


def generate(
    rng: Random, members: Sequence[str], clients: Sequence[str], length_s: float
) -> list[Fault]:
    """Return the faults of one run; calm runs and stormy ones are both among them."""
    alone = {**_ONE_MEMBER, **_DAMAGE, **_OTHERS, **_MEMBERS}
    weights = dict(_KINDS) if len(members) > 1 else alone
    for kind in list(weights):  # each run has its own character
        weights[kind] = round(weights[kind] * rng.choice([0, 1, 1, 3]))
    weights["crash"] += 1
    rate = rng.choice([0.5, 2.0, 4.0])  # faults a second
    faults: list[Fault] = []
    here = list(members)
    at_s = rng.uniform(0.2, 2.0)
    while at_s < length_s:
        (kind,) = rng.choices(list(weights), list(weights.values()))
        for_s = min(math.exp(rng.uniform(math.log(0.05), math.log(3.0))), 3.0)
        fault = _round(at_s, kind, _arguments(rng, kind, here, clients), for_s)
        here += newcomers([fault])
        faults.append(fault)
        at_s += rng.expovariate(rate)
    return faults


def newcomers(faults: Sequence[Fault]) -> list[str]:
    """Return who is added."""
    return [fault.arguments[-1] for fault in faults if fault.kind in ("add", "voter", "replace")]


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
    if kind in _OF_SEVERAL:
        return _OF_SEVERAL[kind](rng, one, members)
    if kind == "hide":
        return (rng.choice(clients), one)
    return () if kind in ("blackout", "handover") else (one,)


_PARAMETERS: dict[str, list[Callable[[Random], str]]] = {
    "tear": [lambda rng: str(rng.randrange(12))],
    "slowdisk": [lambda rng: rng.choice(["0.002", "0.02", "0.2"])],
    "flip": [
        lambda rng: f"{rng.random():.3f}",
        lambda rng: f"{rng.random():.5f}",
        lambda rng: str(rng.randrange(8)),
    ],
    "segment": [lambda rng: f"{rng.random():.3f}"],
    "say": [lambda rng: rng.choice(["Vote", "Ack", "Append"])],
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


def _link(rng: Random, _one: str, members: Sequence[str]) -> tuple[str, ...]:
    return tuple(rng.sample(members, 2))


def _new(members: Sequence[str]) -> str:
    names: tuple[str, ...] = (*_NEWCOMERS, f"z{len(members)}")
    return next(one for one in names if one not in members)


_OF_SEVERAL: dict[str, Callable[[Random, str, Sequence[str]], tuple[str, ...]]] = {
    "partition": lambda rng, _, members: (_partition(rng, members),),
    "oneway": _link,
    "slowlink": lambda rng, one, members: (
        *_link(rng, one, members),
        f"{rng.uniform(0.01, 0.6):.3f}",
    ),
    "add": lambda _rng, _, members: (_new(members),),
    "voter": lambda _rng, _, members: (_new(members),),
    "replace": lambda _rng, one, members: (one, _new(members)),
}
