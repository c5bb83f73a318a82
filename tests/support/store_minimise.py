"""A failing run, cut down to what it needs to fail: fewer clients, fewer and shorter faults.

Delta debugging (Zeller and Hildebrandt 2002): try without halves of the faults, then without
quarters, and so on to single ones, and begin again whenever it still fails. What is left is
not the least there is, but no single part of it can be left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from store_faults import Fault
from store_fuzz import Plan, fuzz

MAX_RUNS = 200


class Minimiser:
    """Runs `fails` at most `max_runs` times; it says why a plan fails, None when it does not."""

    def __init__(self, fails: Callable[[Plan], str | None], max_runs: int = MAX_RUNS) -> None:
        self._fails = fails
        self._left = max_runs
        self.why = ""

    def run(self, plan: Plan) -> Plan:
        """Return a smaller plan that fails; `why` then says how.

        Raises:
            ValueError: the plan does not fail.
        """
        plan = replace(plan, faults=plan.schedule())
        if not self._still(plan):
            raise ValueError(f"seed {plan.seed} does not fail")
        for clients in range(1, plan.clients):
            if self._still(replace(plan, clients=clients)):
                plan = replace(plan, clients=clients)
                break
        plan = self._fewer(plan)
        return self._shorter(plan)

    def _still(self, plan: Plan) -> bool:
        if self._left <= 0:
            return False
        self._left -= 1
        why = self._fails(plan)
        self.why = why or self.why
        return why is not None

    def _fewer(self, plan: Plan) -> Plan:
        faults = list(plan.faults or ())
        size = max(1, len(faults) // 2)
        while faults:
            for start in range(0, len(faults), size):
                rest = (*faults[:start], *faults[start + size :])
                if self._still(replace(plan, faults=rest)):
                    faults = list(rest)
                    size = max(1, min(size, len(faults) // 2))
                    break
            else:
                if size == 1:
                    break
                size //= 2
        return replace(plan, faults=tuple(faults))

    def _shorter(self, plan: Plan) -> Plan:
        faults = list(plan.faults or ())
        for place, fault in enumerate(faults):
            for for_s in (0.0, fault.for_s / 4, fault.for_s / 2):
                shorter = replace(fault, for_s=round(for_s, 3))
                tried = (*faults[:place], shorter, *faults[place + 1 :])
                if shorter != fault and self._still(replace(plan, faults=tried)):
                    faults[place] = shorter
                    break
        return replace(plan, faults=tuple(faults))


def why_it_fails(plan: Plan) -> str | None:
    """Run a plan; None when all is well."""
    try:
        fuzz(plan)
    except AssertionError as error:
        return str(error).partition("\nreplay:")[0]
    return None


def describe(faults: Sequence[Fault]) -> str:
    """Return a schedule for people."""
    return "\n".join(f"    {fault}" for fault in faults) or "    nothing goes wrong at all"
