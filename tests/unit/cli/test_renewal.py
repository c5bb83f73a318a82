"""Certificates that renew themselves: when, how, and through every crash."""

import asyncio
from pathlib import Path
from random import Random

import pytest
import virtual_loop
from join_world import Client, Disk, JoinCluster, SwitchedOff
from virtual_loop import VirtualClock

from wherry.cli.pairs import Pairs
from wherry.cli.renewal import Renewal, due_s
from wherry.pki.certificates import issue
from wherry.pki.node import NODES, node_pairs
from wherry.pki.request import belongs, validity

DAY_S = 86_400.0
SUBJECTS = node_pairs("n1", "10.0.0.11")
WHO = ("system:node:n1", [NODES])


def joined(cluster: JoinCluster, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, subject in SUBJECTS.items():
        pair = issue(cluster.ca, subject, now_s=cluster.clock.now(), days=1)
        (directory / f"{name}.crt").write_bytes(pair.certificate)
        (directory / f"{name}.key").write_bytes(pair.key)


def renewal(cluster: JoinCluster, pairs: Pairs, seed: int = 1) -> Renewal:
    return Renewal(
        pairs,
        SUBJECTS,
        Client(cluster, lambda: WHO),
        requester=WHO[0],
        clock=cluster.clock,
        rng=Random(seed),
    )


@pytest.mark.parametrize(("chance", "part"), [(0.0, 0.7), (0.5, 0.8), (1.0, 0.9)])
def test_when_a_certificate_is_due(chance: float, part: float) -> None:
    async def main() -> None:
        cluster = JoinCluster(VirtualClock())
        now = cluster.clock.now()
        pair = issue(cluster.ca, SUBJECTS["dns"], now_s=now, days=10)
        assert due_s(pair.certificate, chance) == pytest.approx(now + part * 10 * DAY_S, abs=1)

    virtual_loop.run(main())


def test_over_weeks_every_certificate_is_valid_and_renewed_once_a_life(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = JoinCluster(VirtualClock(), most_s=DAY_S)
        pairs = Pairs(tmp_path)
        joined(cluster, tmp_path)
        task = asyncio.ensure_future(renewal(cluster, pairs).run())
        for _ in range(14 * 24):
            await asyncio.sleep(3600)
            for name in SUBJECTS:
                assert belongs(pairs.read(name), pairs.read(name, "key"))
                begin, end = validity(pairs.read(name))
                assert begin < cluster.clock.now() < end - 0.05 * DAY_S
        task.cancel()
        lives = 14 / 0.9, 14 / 0.7
        assert lives[0] - 1 <= cluster.made / len(SUBJECTS) <= lives[1] + 1
        assert not list(tmp_path.glob("*.next"))

    virtual_loop.run(main(), limit_s=15 * DAY_S)


def test_masters_that_are_away_delay_it_and_the_old_one_stays(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = JoinCluster(VirtualClock(), most_s=DAY_S)
        pairs = Pairs(tmp_path)
        joined(cluster, tmp_path)
        old = pairs.read("dns")
        cluster.away = range(1_000_000)
        task = asyncio.ensure_future(renewal(cluster, pairs).run())
        await asyncio.sleep(0.92 * DAY_S)
        assert pairs.read("dns") == old
        cluster.away = range(0)
        await asyncio.sleep(0.03 * DAY_S)
        assert all(validity(pairs.read(n))[1] > cluster.clock.now() + DAY_S / 2 for n in SUBJECTS)
        task.cancel()

    virtual_loop.run(main())


def test_switched_off_while_renewing_a_pair_that_works_is_there(tmp_path: Path) -> None:
    async def main() -> None:
        for steps in range(1000):
            directory = tmp_path / str(steps)
            cluster = JoinCluster(VirtualClock(), most_s=DAY_S)
            joined(cluster, directory)
            disk = Disk(steps)
            pairs = Pairs(directory, write=disk.write, rename=disk.rename)
            cluster.clock.skew_s = 0.95 * DAY_S  # type: ignore[attr-defined]  # a VirtualClock
            try:
                async with asyncio.timeout(60):
                    await renewal(cluster, pairs).run()
            except SwitchedOff:
                again = Pairs(directory)
                for name in SUBJECTS:
                    again.settle(name)
                    assert belongs(again.read(name), again.read(name, "key")), (steps, name)
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(60):
                        await renewal(cluster, again).run()
                assert cluster.made == len(SUBJECTS)
                assert all(validity(again.read(n))[1] > cluster.clock.now() for n in SUBJECTS)
            except TimeoutError:
                assert steps > 20
                return

    virtual_loop.run(main())


def test_a_certificate_for_another_key_is_not_installed(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = JoinCluster(VirtualClock())
        pairs = Pairs(tmp_path)
        joined(cluster, tmp_path)
        before = pairs.read("dns")
        pairs.install("dns", issue(cluster.ca, SUBJECTS["dns"], now_s=0).certificate)
        assert pairs.read("dns") == before
        assert not list(tmp_path.glob("*.next"))

    virtual_loop.run(main())
