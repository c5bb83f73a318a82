"""iptables, through its save and restore programs, and a fake with the same rules."""

from typing import Protocol

from wherry.host.ruleset import Chain, Rule, parse_save, target
from wherry.host.thread import HostError, HostThread

BUILTIN = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
}


class Iptables(Protocol):
    """The packet filter of one host, IPv4."""

    async def save(self) -> dict[Chain, list[Rule]]:
        """Return every chain of the tables filter and nat with its rules.

        Raises:
            HostError: iptables failed.
        """
        ...

    async def restore(self, text: str) -> None:
        """Take an `iptables-restore --noflush` input, per table all or nothing.

        Raises:
            HostError: iptables refused it.
        """
        ...


class IptablesCommand:
    """The host's own iptables programs; `variant` is "", "nft" or "legacy"."""

    def __init__(self, host: HostThread, variant: str = "") -> None:
        self._host = host
        self._program = f"iptables-{variant}" if variant else "iptables"

    async def save(self) -> dict[Chain, list[Rule]]:
        """Read tables filter and nat; a table that nobody has used yet has only empty chains."""
        saved: dict[Chain, list[Rule]] = {
            Chain(table, name): [] for table in BUILTIN for name in BUILTIN[table]
        }
        for table in BUILTIN:
            text = await self._host.run([f"{self._program}-save", "-t", table])
            saved.update(parse_save(text))
        return saved

    async def restore(self, text: str) -> None:
        """Take an input; waits up to 10 s for another program's lock."""
        command = [f"{self._program}-restore", "--noflush", "-w", "10"]
        await self._host.run(command, stdin=text, timeout_s=120)


class FakeIptables:
    """iptables in memory; `inputs` is what was restored, for tests to look at."""

    def __init__(self) -> None:
        self.chains: dict[Chain, list[Rule]] = {
            Chain(table, name): [] for table in BUILTIN for name in BUILTIN[table]
        }
        self.inputs: list[str] = []
        self.broken = False

    async def save(self) -> dict[Chain, list[Rule]]:
        """Return a copy of the chains."""
        if self.broken:
            raise HostError("iptables-save: broken")
        return {chain: list(rules) for chain, rules in self.chains.items()}

    async def restore(self, text: str) -> None:
        """Take an input as `iptables-restore --noflush` does."""
        if self.broken:
            raise HostError("iptables-restore: broken")
        self.take(text)

    def take(self, text: str) -> None:
        """Do what `restore` does, at once: a refused input changes nothing."""
        self.inputs.append(text)
        after = {chain: list(rules) for chain, rules in self.chains.items()}
        table = ""
        for line in text.splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif line.startswith(":"):
                after[Chain(table, line[1:].split(" ", 1)[0])] = []
            elif line == "COMMIT":
                _check_targets(after, table)
            else:
                _edit(after, table, line)
        self.chains = after


def _edit(chains: dict[Chain, list[Rule]], table: str, line: str) -> None:
    command, name, *rest = line.split(" ", 2)
    chain = Chain(table, name)
    if chain not in chains:
        raise HostError(f"iptables-restore: no chain {name} in table {table}: {line}")
    rules, rule = chains[chain], rest[0] if rest else ""
    match command:
        case "-A":
            rules.append(rule)
        case "-I":
            rules.insert(0, rule)
        case "-D" if rule in rules:
            rules.remove(rule)
        case "-X" if not rules and not _referenced(chains, chain):
            del chains[chain]
        case _:
            raise HostError(f"iptables-restore: cannot take {line!r}")


def _referenced(chains: dict[Chain, list[Rule]], chain: Chain) -> bool:
    return any(
        other.table == chain.table and target(rule) == chain.name
        for other, rules in chains.items()
        for rule in rules
    )


_TARGETS = ("", "ACCEPT", "DROP", "RETURN", "REJECT", "MARK", "MASQUERADE", "DNAT", "SNAT")


def _check_targets(chains: dict[Chain, list[Rule]], table: str) -> None:
    for chain, rules in chains.items():
        for rule in rules if chain.table == table else ():
            to = target(rule)
            if to not in _TARGETS and Chain(table, to) not in chains:
                raise HostError(f"iptables-restore: couldn't load target {to!r}: {rule}")
