"""A rolling update while masters and nodes are killed: one seed, one story.

    python world_rollout.py SEED... [--nodes-die] [--trace]       SEED may be a range: 1-20

Promises that are checked at every step of the story:

* while only masters and agents die: never fewer than `replicas - maxUnavailable` pods
  available; always: never more than `replicas + maxSurge` pods that are not being deleted;
* at the end: the Deployment converges to the new image, everywhere, and no ConfigMap whose
  creation was acknowledged is missing.
"""

import argparse
import asyncio
import hashlib
import itertools
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import orjson
import virtual_loop
from virtual_loop import until
from world import MASTER_PROCESSES, World, is_ready
from world_net import RemoteApi

from wherry.api import kinds
from wherry.api.errors import AlreadyExistsError, NotFoundError, StatusError, UnavailableError
from wherry.client.api import PatchType
from wherry.store.kv import Range, prefix_end

REPLICAS: Final = 6
SURGE: Final = 1
UNAVAILABLE: Final = 1
FAULTS_S: Final = 60.0
CONVERGE_S: Final = 900.0
NEW_IMAGE: Final = "nginx:2"

DEPLOYMENT: Final = {
    "metadata": {"name": "web"},
    "spec": {
        "replicas": REPLICAS,
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"rollingUpdate": {"maxSurge": SURGE, "maxUnavailable": UNAVAILABLE}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "nginx:1"}]},
        },
    },
}


class BrokenPromiseError(AssertionError):
    """What the story was told to watch for."""


@dataclass
class Story:
    """What happened, for the report and the digest."""

    seed: int
    nodes_die: bool
    trace: bool = False
    acked: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    fewest_available: int = REPLICAS
    most_active: int = 0
    end_s: float = 0.0
    digest: str = ""

    def tell(self, text: str) -> None:
        self.faults.append(text)
        if self.trace:
            now_s = asyncio.get_running_loop().time()
            print(f"{now_s:9.3f}  {text}", flush=True)

    @property
    def replay(self) -> str:
        """Return the command that tells the same story again."""
        flag = " --nodes-die" if self.nodes_die else ""
        return (
            "PYTHONHASHSEED=0 PYTHONPATH=tests/support .venv/bin/python "
            f"tests/support/world_rollout.py {self.seed}{flag} --trace"
        )


async def patiently(api: RemoteApi, verb: str, *args: Any, **options: Any) -> bytes:
    """Call until it is acknowledged; a create that may have happened and did counts."""
    while True:
        try:
            answer: bytes = await getattr(api, verb)(*args, **options)
        except AlreadyExistsError:
            return b""
        except (UnavailableError, StatusError) as error:
            if isinstance(error, NotFoundError):
                raise
            await asyncio.sleep(0.3)
        else:
            return answer


async def write(world: World, story: Story, writer: int) -> None:
    """Create ConfigMaps for ever; remember those that were acknowledged."""
    api = world.client()
    for number in itertools.count():
        name = f"w{writer}-{number}"
        await patiently(
            api, "create", kinds.CONFIG_MAP, body({"metadata": {"name": name}}), "default"
        )
        story.acked.append(name)
        await asyncio.sleep(0.3)


def body(obj: Any) -> bytes:
    return orjson.dumps(obj)


class Truth:
    """The pods as the most advanced store had them, read without asking anybody.

    A store that was just started knows nothing until a leader tells it what is committed:
    what was once seen stays true.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._revision = 0
        self._last: list[dict[str, Any]] = []

    def pods(self) -> list[dict[str, Any]]:
        state = max((r.state for r in self._world.replicas.values()), key=lambda s: s.revision)
        if state.revision > self._revision:
            self._revision = state.revision
            prefix = b"/registry/pods/default/"
            found = state.range(Range(prefix, prefix_end(prefix)))
            self._last = [orjson.loads(kv.value) for kv in found.kvs]
        return self._last


async def observe(truth: Truth, story: Story) -> None:
    """Hold the promises against the truth, over and over."""
    while True:
        pods = [p for p in truth.pods() if p["metadata"].get("labels", {}).get("app") == "web"]
        active = [p for p in pods if not p["metadata"].get("deletionTimestamp") and not ended(p)]
        available = sum(map(is_ready, active))
        story.fewest_available = min(story.fewest_available, available)
        story.most_active = max(story.most_active, len(active))
        if not story.nodes_die and available < REPLICAS - UNAVAILABLE:
            raise BrokenPromiseError(f"only {available} of {REPLICAS} pods are available")
        if len(active) > REPLICAS + SURGE:
            raise BrokenPromiseError(f"{len(active)} pods, more than {REPLICAS} + {SURGE}")
        await asyncio.sleep(0.05)


def ended(pod: dict[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


async def trouble(world: World, story: Story, rng: Random) -> None:
    """Break things at random moments, and mend some of them."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + FAULTS_S
    while loop.time() < end_s:
        await asyncio.sleep(rng.uniform(0.05, 4.0))
        roll = rng.random()
        if roll < 0.45:
            kill(world, story, [(rng.choice(world.masters), rng.choice(MASTER_PROCESSES))])
        elif roll < 0.55:
            host = rng.choice(world.masters)
            kill(world, story, [(host, name) for name in MASTER_PROCESSES])
        elif roll < 0.60:
            kill(world, story, itertools.product(world.masters, MASTER_PROCESSES))
        elif roll < 0.70:
            kill(world, story, [(rng.choice(world.nodes), "agent")])
        elif roll < 0.80:
            one, other = rng.sample(world.masters + world.nodes, 2)
            story.tell(f"cut {one} {other}")
            world.wires.cut(one, other)
        elif roll < 0.85 and story.nodes_die:
            host = rng.choice(world.nodes)
            story.tell(f"power off {host}")
            world.kill_node(host)
        else:
            mend(world, story, rng)
        if rng.random() < 0.4:
            mend(world, story, rng)


def kill(world: World, story: Story, victims: Iterable[tuple[str, str]]) -> None:
    for host, name in victims:
        if world.processes[host, name].running:
            story.tell(f"kill {host} {name}")
            world.kill(host, name)


def mend(world: World, story: Story, rng: Random) -> None:
    if rng.random() < 0.3:
        story.tell("heal links")
        world.wires.heal()
    for host, name in world.dead():
        if rng.random() < 0.6:
            story.tell(f"start {host} {name}")
            world.start(host, name)


async def converged(world: World) -> bool:
    deployments = [
        d for d in await world.objects(kinds.DEPLOYMENT) if d["metadata"]["name"] == "web"
    ]
    status = deployments[0].get("status", {}) if deployments else {}
    counts = [status.get(k) for k in ("replicas", "updatedReplicas", "availableReplicas")]
    seen = status.get("observedGeneration") == deployments[0]["metadata"]["generation"]
    return counts == [REPLICAS] * 3 and seen


async def wait_converged(world: World, within_s: float) -> None:
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + within_s
    while not await converged(world):
        if loop.time() > deadline_s:
            raise BrokenPromiseError(f"not converged within {within_s:.0f} s")
        await asyncio.sleep(0.5)


async def tell(story: Story) -> None:
    async with World(story.seed) as world:
        rng = world.chance()
        await world.settled()
        api = world.client()
        await patiently(api, "create", kinds.DEPLOYMENT, body(DEPLOYMENT), "default")
        await wait_converged(world, 120.0)
        watching = [world.spawn(observe(Truth(world), story))]
        watching += [world.spawn(write(world, story, i)) for i in range(2)]
        template = {
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": NEW_IMAGE}]}}}
        }
        await patiently(
            api,
            *("patch", kinds.DEPLOYMENT, "web", body(template), "default"),
            patch_type=PatchType.STRATEGIC,
        )
        story.tell(f"image {NEW_IMAGE}")
        await trouble(world, story, rng)
        story.tell("revive everything")
        world.revive()
        await wait_converged(world, CONVERGE_S)
        await check_end(world, story)
        for task in watching:
            task.cancel()
        story.end_s = asyncio.get_running_loop().time()
        story.digest = digest(world, story)


async def check_end(world: World, story: Story) -> None:
    pods = [p for p in await world.objects(kinds.POD, "default") if not ended(p)]
    images = {p["spec"]["containers"][0]["image"] for p in pods if is_ready(p)}
    if images != {NEW_IMAGE}:
        raise BrokenPromiseError(f"pods run {images}")
    acked = list(story.acked)  # the writers go on while we read
    there = {c["metadata"]["name"] for c in await world.objects(kinds.CONFIG_MAP, "default")}
    lost = [name for name in acked if name not in there]
    if lost:
        raise BrokenPromiseError(f"{len(lost)} acknowledged writes are gone: {lost[:5]}")
    await until(lambda: len({r.state.digest() for r in world.replicas.values()}) == 1, within_s=30)


def digest(world: World, story: Story) -> str:
    state = next(iter(world.replicas.values())).state
    told = f"{state.digest()} {state.revision} {story.faults} {story.end_s}"
    return hashlib.sha256(told.encode()).hexdigest()


@contextmanager
def _unwrapped() -> Iterator[None]:
    """Let the one exception inside nested groups be seen."""
    try:
        yield
    except BaseExceptionGroup as group:
        inner: BaseException = group
        while isinstance(inner, BaseExceptionGroup):
            inner = inner.exceptions[0]
        raise inner from group


def run(seed: int, *, nodes_die: bool = False, trace: bool = False) -> Story:
    """Tell one story to its end.

    Raises:
        BrokenPromiseError: and says how to replay it.
    """
    story = Story(seed, nodes_die, trace)
    try:
        with _unwrapped():
            virtual_loop.run(tell(story))
    except BaseException as error:
        error.add_note(f"replay: {story.replay}")
        raise
    return story


def seeds(text: str) -> list[int]:
    """Read `7` or `1-20`."""
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("seeds", nargs="+", type=seeds)
    parser.add_argument("--nodes-die", action="store_true")
    parser.add_argument("--trace", action="store_true")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        print("set PYTHONHASHSEED=0 to see the same story twice", file=sys.stderr)
    logging.basicConfig(level="CRITICAL")
    for seed in itertools.chain.from_iterable(options.seeds):
        story = run(seed, nodes_die=options.nodes_die, trace=options.trace)
        print(
            f"seed {story.seed}: {len(story.acked)} writes, {len(story.faults)} faults, "
            f"{story.fewest_available}..{story.most_active} pods, {story.end_s:.1f} s, "
            f"{story.digest[:16]}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
