"""iptables rules as values: what should be there, what is there, and the way between.

A rule is the text after `-A CHAIN `, in exactly the form in which `iptables-save` prints it
(1.8, legacy and nft agree), so that desired and actual compare as text. A version that
prints otherwise costs a needless rewrite at each resync and nothing else.

The way is a list of `iptables-restore --noflush` inputs:

1. chains that are new or differ are written, those that others jump to first, so that a
   jump never leads to a chain that is not there yet;
2. jumps from the built-in chains are added where missing;
3. chains of ours that are wanted no longer are removed, those that jump first.

After every input the rules are whole: a crash between two of them leaves traffic on the old
or on the new rules. Inputs are small because iptables-nft needs time that grows with the
square of their size (5,000 services: 60 s in one input, 2 s in inputs of 300).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

Rule = str
_TARGET = re.compile(r"(?:^|\s)-j (\S+)")
CHAINS_PER_INPUT = 1500


class Chain(NamedTuple):
    """A chain of a table."""

    table: str
    name: str


@dataclass(frozen=True, slots=True)
class Jump:
    """A rule of ours in a built-in chain that other programs also use; `first` puts it on top."""

    chain: Chain
    rule: Rule
    first: bool = False


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Chains of ours with their rules, and the jumps that lead to them."""

    chains: Mapping[Chain, tuple[Rule, ...]]
    jumps: tuple[Jump, ...] = ()


Saved = Mapping[Chain, Sequence[Rule]]
"""What `iptables-save` said: every chain, the built-in ones too."""


def parse_save(text: str) -> dict[Chain, list[Rule]]:
    """Read the output of `iptables-save`; counters and policies are left out."""
    table = ""
    saved: dict[Chain, list[Rule]] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            saved.setdefault(Chain(table, line[1:].split(" ", 1)[0]), [])
        elif line.startswith("-A "):
            _, name, *rest = line.rstrip().split(" ", 2)
            saved.setdefault(Chain(table, name), []).append(rest[0] if rest else "")
    return saved


def target(rule: Rule) -> str:
    """Return what the rule jumps to, "" for none."""
    found = _TARGET.findall(rule)
    return found[-1] if found else ""


def diff(
    desired: RuleSet,
    actual: Saved,
    *,
    owned: tuple[str, ...],
    chains_per_input: int = CHAINS_PER_INPUT,
) -> list[str]:
    """Return the inputs for `iptables-restore --noflush` that turn `actual` into `desired`.

    Args:
        desired: What should be there.
        actual: What is there, of the same tables at least.
        owned: Prefixes of chain names that are ours alone: such a chain that is not in
            `desired` is removed. Chains of other programs are never touched.
        chains_per_input: How many chains one input may write.
    """
    stale = [c for c in actual if c.name.startswith(owned) and c not in desired.chains]
    changed = [
        chain
        for chain, rules in desired.chains.items()
        if chain not in actual or tuple(actual[chain]) != rules
    ]
    depth = _depths(desired.chains)
    changed.sort(key=lambda chain: (depth[chain], chain))
    depth = _depths(actual)
    stale.sort(key=lambda chain: (-depth[chain], chain))
    inputs = [_format(part, desired.chains, ()) for part in _parts(changed, chains_per_input)]
    if jumps := list(_jump_lines(desired.jumps, actual)):
        inputs.append(_format((), {}, jumps))
    inputs.extend(
        _format(part, {}, [(c.table, f"-X {c.name}") for c in part])
        for part in _parts(stale, chains_per_input)
    )
    return inputs


def after(desired: RuleSet, actual: Saved, *, owned: tuple[str, ...]) -> dict[Chain, list[Rule]]:
    """Return what `iptables-save` will say once the inputs of `diff` were taken."""
    kept = {c: list(r) for c, r in actual.items() if not c.name.startswith(owned)}
    kept.update({chain: list(rules) for chain, rules in desired.chains.items()})
    for jump in desired.jumps:
        rules = kept.setdefault(jump.chain, [])
        if jump.rule not in rules:
            rules.insert(0 if jump.first else len(rules), jump.rule)
    return kept


def _jump_lines(jumps: Iterable[Jump], actual: Saved) -> Iterator[tuple[str, str]]:
    for jump in jumps:
        found = list(actual.get(jump.chain, ())).count(jump.rule)
        if not found:
            yield jump.chain.table, f"-{'I' if jump.first else 'A'} {jump.chain.name} {jump.rule}"
        for _ in range(found - 1):
            yield jump.chain.table, f"-D {jump.chain.name} {jump.rule}"


def _depths(chains: Saved) -> dict[Chain, int]:
    """Return how far each chain's jumps reach down: 0 for a chain that jumps to none."""
    depth: dict[Chain, int] = {}

    def visit(chain: Chain) -> int:
        if chain not in depth:
            depth[chain] = 0  # also ends the walk in a loop, which iptables refuses anyway
            below = (Chain(chain.table, target(rule)) for rule in chains[chain])
            depth[chain] = max((visit(b) + 1 for b in below if b in chains), default=0)
        return depth[chain]

    for chain in chains:
        visit(chain)
    return depth


def _parts(chains: Sequence[Chain], size: int) -> Iterator[tuple[Chain, ...]]:
    remaining = iter(chains)
    while part := tuple(islice(remaining, size)):
        yield part


def _format(
    chains: Sequence[Chain],
    rules: Mapping[Chain, Sequence[Rule]],
    lines: Sequence[tuple[str, str]],
) -> str:
    """Write one input: naming a chain makes or empties it, then come its rules, then `lines`."""
    tables = dict.fromkeys([c.table for c in chains] + [table for table, _ in lines])
    text: list[str] = []
    for table in tables:
        text.append(f"*{table}")
        mine = [chain for chain in chains if chain.table == table]
        text += [f":{chain.name} - [0:0]" for chain in mine]
        text += [f"-A {chain.name} {rule}" for chain in mine for rule in rules.get(chain, ())]
        text += [line for of_table, line in lines if of_table == table]
        text.append("COMMIT")
    return "\n".join(text) + "\n"
