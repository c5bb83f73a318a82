"""iptables itself: what we render is what it prints, and the fake does as it does."""

import asyncio
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from netns_lab import lab

from wherry.host.iptables import FakeIptables, Iptables, IptablesCommand
from wherry.host.ruleset import Chain, RuleSet, after, diff
from wherry.host.thread import HostError
from wherry.overlay.plan import OWNED_CHAINS as OVERLAY_CHAINS
from wherry.overlay.plan import masquerade_rules
from wherry.proxy.portal import Backend, Portal
from wherry.proxy.render import OWNED_CHAINS, Facts, render

pytestmark = pytest.mark.netns

BACKENDS = tuple(Backend(f"10.244.1.{n}", 8080) for n in range(2, 9))
PORTALS = [
    Portal("default/all:http", "tcp", "10.96.0.2", 80, node_port=30080, affinity_s=600,
           external_ips=("192.0.2.1", "192.0.2.2"), external_local=True, internal_local=True,
           cluster=BACKENDS, local=BACKENDS[:3]),
    Portal("default/far", "tcp", "10.96.0.3", 80, node_port=30081, external_local=True,
           internal_local=True, cluster=BACKENDS[:1]),
    Portal("default/none:x", "udp", "10.96.0.4", 53, node_port=30082, external_ips=("192.0.2.3",)),
    Portal("default/udp", "udp", "10.96.0.5", 53, node_port=30083, cluster=BACKENDS),
]  # fmt: skip
FACTS = Facts(cluster_cidr="10.244.0.0/16", localnet=True)


async def apply(iptables: Iptables, rules: RuleSet, owned: tuple[str, ...]) -> list[str]:
    inputs = diff(rules, await iptables.save(), owned=owned)
    for text in inputs:
        await iptables.restore(text)
    return inputs


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_what_is_rendered_is_what_iptables_prints(tmp_path: Path, variant: str) -> None:
    """The diff compares text: a rule that is printed otherwise would be rewritten for ever."""

    async def main() -> None:
        async with lab(tmp_path, 1) as made:
            iptables = IptablesCommand(made.hosts[0].thread, variant)
            rules = render(PORTALS, FACTS)
            expected = after(rules, await iptables.save(), owned=OWNED_CHAINS)
            assert await apply(iptables, rules, OWNED_CHAINS)
            saved = await iptables.save()
            assert {c: sorted(r) for c, r in saved.items()} == {
                c: sorted(r) for c, r in expected.items()
            }
            assert await apply(iptables, rules, OWNED_CHAINS) == []

            masquerade = masquerade_rules(
                IPv4Network("10.244.0.0/16"), IPv4Network("10.244.1.0/24")
            )
            assert await apply(iptables, masquerade, OVERLAY_CHAINS)
            assert await apply(iptables, masquerade, OVERLAY_CHAINS) == []
            assert await apply(iptables, rules, OWNED_CHAINS) == []

            assert await apply(iptables, render([], FACTS), OWNED_CHAINS)
            left = [c for c in await iptables.save() if c.name.startswith(OWNED_CHAINS)]
            assert left == []

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["fake", "nft", "legacy"])
def test_iptables_contract(tmp_path: Path, kind: str) -> None:
    """The promises that callers rely on, of the real thing and of the fake."""

    async def main() -> None:
        async with lab(tmp_path, 1) as made:
            iptables: Iptables = (
                FakeIptables() if kind == "fake" else IptablesCommand(made.hosts[0].thread, kind)
            )
            nat = "*nat\n{}\nCOMMIT\n"
            chain = Chain("nat", "WN-A")
            assert (await iptables.save())[Chain("nat", "POSTROUTING")] == []
            await iptables.restore(nat.format(":WN-A - [0:0]\n-A WN-A -j RETURN"))
            assert (await iptables.save())[chain] == ["-j RETURN"]
            await iptables.restore(nat.format("-A POSTROUTING -j WN-A"))
            # Naming a chain empties it; others keep what they have.
            await iptables.restore(nat.format(":WN-A - [0:0]\n-A WN-A -j ACCEPT"))
            saved = await iptables.save()
            assert saved[chain] == ["-j ACCEPT"]
            assert saved[Chain("nat", "POSTROUTING")] == ["-j WN-A"]
            for refused in (
                ":WN-A - [0:0]\n-X WN-A",  # still referenced
                "-A WN-A -j WN-MISSING",
                "-A WN-MISSING -j RETURN",
            ):
                with pytest.raises(HostError):
                    await iptables.restore(nat.format(refused))
                assert (await iptables.save())[chain] == ["-j ACCEPT"], "all or nothing"
            await iptables.restore(nat.format("-D POSTROUTING -j WN-A\n:WN-A - [0:0]\n-X WN-A"))
            assert chain not in await iptables.save()

    asyncio.run(main())
