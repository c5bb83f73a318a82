"""`scripts/soak store`: seeds without end, or one of them; what fails is cut down and printed."""

import argparse
import itertools
import logging
import shlex
import sys

from store_faults import parse, render
from store_fuzz import CLIENTS, Outcome, Plan, fuzz, run_with_log
from store_minimise import Minimiser, describe, why_it_fails

_EVERY = 100  # seeds between two lines of progress


def command(plan: Plan) -> str:
    """Return the one command that runs a plan again."""
    words = ["scripts/soak", "store", "--start", str(plan.seed), "--seeds", "1"]
    words += ["--members", str(plan.members)]
    if plan.clients != CLIENTS:
        words += ["--clients", str(plan.clients)]
    if plan.faults is not None:
        words += ["--faults", render(plan.faults)]
    return shlex.join(words)


def report(plan: Plan, why: str, max_runs: int) -> None:
    """Say what failed, how to run it again, and the least that still fails."""
    print(f"\nFAILED  {why}\n  again:     {command(plan)}", flush=True)
    if not max_runs:
        return
    minimiser = Minimiser(why_it_fails, max_runs)
    try:
        least = minimiser.run(plan)
    except ValueError as error:
        print(f"  not minimised: {error}; a run depends on more than its seed", flush=True)
        return
    print(f"  minimised: {minimiser.why}\n  {least.clients} clients and")
    print(f"{describe(least.faults or ())}\n  again:     {command(least)}\n", flush=True)


def main(arguments: list[str]) -> int:
    """Run; the exit status is 1 when a seed failed."""
    parser = argparse.ArgumentParser(prog="scripts/soak store", description=__doc__)
    parser.add_argument("--seeds", type=int, help="how many; without it: for ever")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--members", type=int, choices=(1, 3, 5), help="default: 3, 5, 3, 1 in turn"
    )
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--faults", help="a schedule instead of the seed's own; implies one seed")
    parser.add_argument("--trace", action="store_true", help="print what happened, in order")
    parser.add_argument("--minimise", type=int, default=200, metavar="RUNS", help="0: do not")
    given = parser.parse_args(arguments)
    faults = tuple(parse(given.faults)) if given.faults is not None else None
    seeds = itertools.count(given.start)
    count = 1 if faults is not None else given.seeds
    total, failed, done = Outcome(), 0, 0
    for seed in seeds if count is None else itertools.islice(seeds, count):
        members = given.members or (3, 5, 3, 1)[seed % 4]
        plan = Plan(seed, members, given.clients, faults=faults)
        if given.trace:
            why, log = run_with_log(plan)
            print("\n".join(log), f"\n{why or 'all is well'}")
            return int(why is not None)
        try:
            total.add(fuzz(plan))
        except AssertionError as error:
            failed += 1
            report(plan, str(error).partition("\nreplay:")[0], given.minimise)
        done += 1
        if done % _EVERY == 0:
            print(f"{done} seeds, up to {seed}: {failed} failed; {total.brief()}", flush=True)
    print(f"{done} seeds: {failed} failed; {total}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
