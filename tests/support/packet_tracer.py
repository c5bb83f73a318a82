"""Walks packets through a rule set, as the kernel would: the oracle of the proxy's tests.

It reads the text of the rules and knows nothing of how they were made. Instead of drawing
random numbers it follows every branch: the result is all outcomes with their probability.
It covers the first packet of a connection, in the order of netfilter's hooks:

    from another host or a pod:  nat PREROUTING -> route -> filter INPUT | FORWARD -> nat POSTROUTING
    from this host itself:       nat OUTPUT -> filter OUTPUT -> (if local) INPUT -> POSTROUTING
"""

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from wherry.host.ruleset import Chain, RuleSet


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection; `recent` is which lists know its source already."""

    source: str
    destination: str
    port: int
    protocol: str = "tcp"
    mark: int = 0
    recent: frozenset[str] = frozenset()


@dataclass(frozen=True, order=True)
class Outcome:
    """Where the packet ends: `verdict` is accept, drop or reject."""

    verdict: str
    destination: str
    port: int
    masqueraded: bool


@dataclass(frozen=True)
class Step:
    """A packet on its way with the probability of having come here; a verdict ends it."""

    packet: Packet
    chance: float
    verdict: str = ""
    masqueraded: bool = False
    translated: bool = False


class Tracer:
    """A host with rules: its own addresses, and how its built-in chains begin."""

    def __init__(self, rules: RuleSet, local: frozenset[str]) -> None:
        self._local = local | {"127.0.0.1"}
        self._chains: dict[Chain, list[str]] = defaultdict(list)
        for chain, found in rules.chains.items():
            self._chains[chain].extend(found)
        for jump in reversed(rules.jumps):
            self._chains[jump.chain].append(jump.rule)

    def trace(self, packet: Packet) -> Mapping[Outcome, float]:
        """Return every possible outcome and its probability."""
        outcomes: dict[Outcome, float] = defaultdict(float)
        for step in self._hooks(packet):
            end = step.packet
            outcome = Outcome(step.verdict or "accept", end.destination, end.port, step.masqueraded)
            outcomes[outcome] += step.chance
        assert abs(sum(outcomes.values()) - 1) < 1e-6, outcomes
        return dict(outcomes)

    def _hooks(self, packet: Packet) -> Iterator[Step]:
        own = packet.source in self._local
        first = Chain("nat", "OUTPUT" if own else "PREROUTING")
        for step in self._walk(first, Step(packet, 1.0)):
            local = step.packet.destination in self._local
            filters = [Chain("filter", "OUTPUT")] if own else []
            if local:
                filters.append(Chain("filter", "INPUT"))
            elif not own:
                filters.append(Chain("filter", "FORWARD"))
            for passed in self._through(filters, replace(step, verdict="")):
                if passed.verdict or local:
                    yield passed
                else:
                    yield from self._walk(Chain("nat", "POSTROUTING"), passed)

    def _through(self, chains: Sequence[Chain], step: Step) -> Iterator[Step]:
        if not chains:
            yield step
            return
        for after in self._walk(chains[0], step):
            if after.verdict in ("drop", "reject"):
                yield after
            else:
                yield from self._through(chains[1:], replace(after, verdict=""))

    def _walk(self, chain: Chain, step: Step, at: int = 0) -> Iterator[Step]:
        """Follow a chain from rule `at`; steps without verdict have reached its end."""
        rules = self._chains[chain]
        if at == len(rules):
            yield step
            return
        rule = _Rule(rules[at])
        chance = rule.chance(step.packet, self._local)
        if chance < 1:
            yield from self._walk(chain, replace(step, chance=step.chance * (1 - chance)), at + 1)
        if chance > 0:
            taken = replace(step, chance=step.chance * chance)
            yield from self._act(rule, chain, taken, at)

    def _act(self, rule: "_Rule", chain: Chain, step: Step, at: int) -> Iterator[Step]:
        match rule.target:
            case "ACCEPT" | "DROP" | "REJECT":
                yield replace(step, verdict=rule.target.lower())
            case "RETURN":
                yield step
            case "MASQUERADE":
                yield replace(step, verdict="accept", masqueraded=True)
            case "DNAT":
                address, _, port = rule.options["--to-destination"].partition(":")
                sent = replace(step.packet, destination=address, port=int(port))
                yield replace(step, packet=sent, verdict="accept", translated=True)
            case "MARK":
                value, _, mask = rule.options["--set-xmark"].partition("/")
                mark = (step.packet.mark & ~int(mask, 16)) ^ int(value, 16)
                marked = replace(step, packet=replace(step.packet, mark=mark))
                yield from self._walk(chain, marked, at + 1)
            case "":
                yield from self._walk(chain, step, at + 1)
            case name:
                target = Chain(chain.table, name)
                assert target in self._chains, f"jump to missing chain {name}"
                for after in self._walk(target, step):
                    if after.verdict:
                        yield after
                    else:
                        yield from self._walk(chain, after, at + 1)


class _Rule:
    """One parsed rule: options with the negation that stood before them."""

    def __init__(self, text: str) -> None:
        self.options: dict[str, str] = {}
        self.negated: set[str] = set()
        self.target = ""
        negate = False
        words = shlex.split(text)
        while words:
            word = words.pop(0)
            if word == "!":
                negate = True
                continue
            value = ""
            while words and not words[0].startswith("-") and words[0] != "!":
                value = words.pop(0)
            if word == "-j":
                self.target = value
            elif word != "-m":
                self.options[word] = value
            if negate:
                self.negated.add(word)
            negate = False

    def chance(self, packet: Packet, local: frozenset[str]) -> float:
        """Return the probability that the rule applies to the packet."""
        for option, value in self.options.items():
            holds = self._holds(option, value, packet, local)
            if holds is not None and holds is (option in self.negated):
                return 0.0
        return float(self.options.get("--probability", 1.0))

    def _holds(self, option: str, value: str, packet: Packet, local: frozenset[str]) -> bool | None:
        """Tell whether a condition holds; None for what is no condition on this packet."""
        condition = _CONDITIONS.get(option)
        if option == "--rcheck":
            return self.options["--name"] in packet.recent
        return None if condition is None else condition(value, packet, local)


def _marked(value: str, packet: Packet, _local: frozenset[str]) -> bool:
    wanted, _, mask = value.partition("/")
    return packet.mark & int(mask, 16) == int(wanted, 16)


_CONDITIONS: dict[str, Callable[[str, Packet, frozenset[str]], bool]] = {
    "-s": lambda value, packet, _: IPv4Address(packet.source) in IPv4Network(value),
    "-d": lambda value, packet, _: IPv4Address(packet.destination) in IPv4Network(value),
    "-p": lambda value, packet, _: packet.protocol == value,
    "--dport": lambda value, packet, _: packet.port == int(value),
    "--dst-type": lambda _value, packet, local: packet.destination in local,
    "--src-type": lambda _value, packet, local: packet.source in local,
    "--mark": _marked,
    "--ctstate": lambda value, _packet, _local: "NEW" in value.split(","),
}
