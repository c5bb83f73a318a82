"""Measures the store against Debian's etcd on this machine, in the same run, alternating.

    scripts/bench store [PART ...] [--quick] [--json FILE] [--plot FILE.png] [--seconds S]

Three members of each on loopback, every write durable (fdatasync) on a majority. Ours is
asked as an API server asks it: framed msgpack on a Unix socket. etcd is asked as a Python
client must ask it: gRPC (grpc.aio). So clients differ; only ratios, and CPU per operation of
the servers, say anything about another machine. Parts: requests, watch, idle, failover, size.

Prints lines for people; --json has a list of {"line", "value", "unit", "goal", "holds"}.
Exits with 1 when a goal is missed. --quick shows that everything works: its figures mean
nothing, and it exits with 0.
"""

import argparse
import asyncio
import sys
from pathlib import Path

import uvloop
from _report import Report
from store.asking import CONCURRENCY, gets, lists, puts, serializable_gets
from store.failover import failover
from store.idle import idle
from store.rig import pair
from store.size import size
from store.watching import watching

PARTS = ("idle", "requests", "watch", "failover", "size")


class Options(argparse.Namespace):
    parts: list[str]
    quick: bool
    json: Path | None
    plot: Path | None
    seconds: float
    rounds: int


async def bench(report: Report, options: Options) -> None:
    parts = set(options.parts or PARTS)
    seconds, rounds = options.seconds, options.rounds
    if parts & {"idle", "requests", "watch"}:
        async with pair() as both:
            if "idle" in parts:
                await idle(report, both, 10 * seconds / 3)
            if "requests" in parts:
                curves = await puts(report, both, seconds, rounds)
                if options.plot:
                    from store.plot import draw  # half a second, only if asked

                    draw(curves, CONCURRENCY, options.plot)
                await gets(report, both, seconds, rounds)
                await serializable_gets(report, both, seconds, rounds)
                await lists(report, both, seconds)
            if "watch" in parts:
                await watching(report, both, seconds)
    if "failover" in parts:
        await failover(report, 2 if options.quick else 20)
    if "size" in parts:
        keys, rewrites = (1000, 1) if options.quick else (100_000, 3)
        await size(report, keys, rewrites)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench store",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="which; all by default")
    parser.add_argument("--quick", action="store_true", help="see that it works")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--plot", type=Path, help="draw latency over throughput here")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=2, help="of each; the better counts")
    options = parser.parse_args(namespace=Options())
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if options.quick:
        options.seconds, options.rounds = 0.3, 1
    report = Report("store")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bench(report, options))
    missed = report.finish(options.json)
    return 0 if options.quick else missed


if __name__ == "__main__":
    sys.exit(main())
