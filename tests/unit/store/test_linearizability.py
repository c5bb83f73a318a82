"""The judge is judged: by histories whose verdict is plain, and by brute force."""

import itertools
from collections.abc import Hashable, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linearizability import Kind, Operation, Txn, _step, check


def history(*lines: str) -> list[Operation]:
    """Read `client call-end kind key [argument] [= result]`; an end of `?` is unknown."""
    return [_read(line) for line in lines]


def _read(line: str) -> Operation:
    what, _, result = line.partition("=")
    client, span, kind, *rest = what.split()
    call, end = span.split("-")
    argument: Hashable = None
    if kind == "cas":
        argument = (_value(rest[1]), _value(rest[2]))
    elif kind == "put":
        argument = rest[1]
    return Operation(
        client,
        rest[0],
        float(call),
        None if end == "?" else float(end),
        kind,  # type: ignore[arg-type]  # written by hand
        argument,
        _value(result.strip()),
    )


def _value(text: str) -> Hashable:
    return {"": None, "none": None, "yes": True, "no": False}.get(text, text)


GOOD = {
    "nothing at all": history(),
    "one after the other": history("a 1-2 put x 1", "a 3-4 get x = 1"),
    "absent at first": history("a 1-2 get x = none", "a 3-4 put x 1"),
    "overlapping: either": history("a 1-4 put x 1", "b 2-3 get x = none"),
    "overlapping: or": history("a 1-4 put x 1", "b 2-3 get x = 1"),
    "two writers, read in between": history(
        "a 1-9 put x 1", "b 1-9 put x 2", "c 2-3 get x = 2", "c 4-5 get x = 1"
    ),
    "a write that was never answered takes effect late": history(
        "a 1-? put x 1", "b 2-3 get x = none", "b 8-9 get x = 1"
    ),
    "or never": history("a 1-? put x 1", "b 2-3 get x = none", "b 8-9 get x = none"),
    "a cas that was never answered": history(
        "a 1-2 put x 1", "a 3-? cas x 1 2", "b 5-6 get x = 1", "b 8-9 get x = 2"
    ),
    "of two that compare one wins": history(
        "a 1-2 put x 0", "a 3-9 cas x 0 1 = yes", "b 3-9 cas x 0 2 = no", "c 10-11 get x = 1"
    ),
    "created once": history("a 1-5 cas x none 1 = yes", "b 2-6 cas x none 2 = no"),
    "deleted": history("a 1-2 put x 1", "a 3-4 delete x = yes", "a 5-6 get x = none"),
    "nothing to delete": history("a 3-4 delete x = no"),
    "keys have nothing to do with each other": history(
        "a 1-2 put x 1", "b 1-2 put y 2", "a 3-4 get y = 2", "b 3-4 get x = 1"
    ),
    "the same instant may overlap": history("a 1-2 put x 1", "b 2-3 get x = none"),
    "an unanswered read says nothing": history("a 1-? get x", "a 2-3 put x 1"),
}
BAD = {
    "read of what nobody wrote": history("a 1-2 get x = 9"),
    "stale read": history("a 1-2 put x 1", "a 3-4 put x 2", "b 5-6 get x = 1"),
    "a write is gone": history("a 1-2 put x 1", "b 3-4 get x = none"),
    "time runs backwards between readers": history(
        "a 1-9 put x 1", "b 2-3 get x = 1", "c 4-5 get x = none"
    ),
    "a write came before its call": history("a 5-? put x 1", "b 1-2 get x = 1"),
    "an unanswered write took effect twice": history(
        "a 1-? put x 1", "b 2-3 get x = 1", "b 4-5 put x 2", "b 6-7 get x = 1"
    ),
    "two that compare both win": history(
        "a 1-2 put x 0", "a 3-9 cas x 0 1 = yes", "b 3-9 cas x 0 2 = yes"
    ),
    "a cas refused for nothing": history("a 1-2 put x 1", "a 3-4 cas x 1 2 = no"),
    "deleted what was not there": history("a 1-2 delete x = yes"),
    "deleted and still there": history("a 1-2 put x 1", "a 3-4 delete x = yes", "b 5-6 get x = 1"),
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    assert check(GOOD[name]) is None


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    violation = check(BAD[name])
    assert violation is not None
    assert violation.decided
    assert violation.keys == ("x",)
    assert violation.stuck, "it says which operation has no place"


def _txn(client: str, call: float, end: float | None, txn: Txn, result: bool) -> Operation:
    return Operation(client, "", call, end, "txn", txn, result)


def test_a_transaction_ties_its_keys_together() -> None:
    """Each key alone is in order; both together are not."""
    move = Txn((("x", "1"),), (("x", "0"), ("y", "1")))
    moved = [Operation("a", "x", 1, 2, "put", "1"), _txn("a", 3, 9, move, True)]
    early = [*moved, *history("b 4-5 get y = 1", "b 6-7 get x = 0")]
    assert check(early) is None
    torn = [*moved, *history("b 4-5 get y = 1", "b 6-7 get x = 1")]
    assert [check([one for one in torn if one.key == key]) for key in "y"] != [None]
    violation = check(torn)
    assert violation is not None
    assert violation.keys == ("x", "y")
    refused = [moved[0], _txn("a", 3, 4, move, False)]
    assert check(refused) is not None


def test_a_history_that_is_too_hard_is_undecided_not_good() -> None:
    puts = [Operation(f"c{n}", "x", 0, 100, "put", str(n)) for n in range(14)]
    cases = [Operation(f"d{n}", "x", 0, 100, "cas", (str(n), "z"), True) for n in range(14)]
    impossible = [*puts, *cases, Operation("e", "x", 101, 102, "get", None, "nobody's")]
    violation = check(impossible, max_steps=5000)
    assert violation is not None
    assert not violation.decided
    assert "undecided" in str(violation)


def test_an_operation_that_ends_before_it_begins_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="ends before it begins"):
        check(history("a 2-1 put x 1"))


def test_the_report_can_be_read() -> None:
    text = str(check(BAD["stale read"]))
    assert "not linearizable: x" in text
    assert "b: 5.000000 get x ... 6.000000 -> '1'" in text


def test_what_keys_held_before() -> None:
    assert check(history("a 1-2 get x = 5"), initial={"x": "5"}) is None
    assert check(history("a 1-2 get x = none"), initial={"x": "5"}) is not None


# ---- chance

KINDS: tuple[Kind, ...] = ("put", "get", "delete", "cas", "txn")


def _perform(rng: Random, state: dict[str, Hashable], one: Operation, number: int) -> Operation:
    argument: Hashable = None
    if one.kind == "put":
        argument = str(number)
    elif one.kind == "cas":
        argument = (rng.choice([None, state.get(one.key)]), str(number))
    elif one.kind == "txn":
        argument = Txn((("x", state.get("x")),), (("x", str(number)), ("y", None)))
    end = one.end
    where = {"x": 0, "y": 1}
    before = (state.get("x"), state.get("y"))
    lost = end is not None and rng.random() < 0.15
    shape = Operation(one.client, one.key, one.call, None, one.kind, argument)
    after = _step(shape, before, where)
    assert after is not None
    took_effect = not lost or rng.random() < 0.5
    if took_effect:
        state["x"], state["y"] = after
    result: Hashable = None
    now = before[where[one.key]]
    if one.kind == "get":
        result = now
    elif one.kind == "delete":
        result = now is not None
    elif one.kind == "cas":
        assert isinstance(argument, tuple)
        result = now == argument[0]
    elif one.kind == "txn":
        result = True
    return Operation(
        one.client, one.key, one.call, None if lost else end, one.kind, argument, result
    )


def in_order(rng: Random, count: int, clients: int = 4) -> list[Operation]:
    """Perform operations one by one, each at its instant, and answer their clients late."""
    kinds = rng.sample(KINDS, rng.randrange(1, len(KINDS) + 1))
    state: dict[str, Hashable] = {}
    busy: dict[int, float] = {}
    done: list[Operation] = []
    for number in range(count):
        at = float(number)
        free = [client for client in range(clients) if busy.get(client, -1.0) < at]
        if not free:
            continue
        client = rng.choice(free)
        call = rng.uniform(max(busy.get(client, -1.0), at - 3), at)
        end = at + rng.uniform(0, 3)
        busy[client] = end
        one = Operation(f"c{client}", rng.choice("xy"), call, end, rng.choice(kinds))
        done.append(_perform(rng, state, one, number))
    return done


@settings(max_examples=150)
@given(st.integers(0, 1 << 32), st.integers(1, 60))
def test_what_really_happened_is_accepted(seed: int, count: int) -> None:
    rng = Random(seed)
    done = in_order(rng, count)
    rng.shuffle(done)
    assert check(done) is None


@settings(max_examples=150)
@given(st.integers(0, 1 << 32))
def test_a_stale_read_is_rejected(seed: int) -> None:
    """A read of what was overwritten before it was asked, by a write that was answered."""
    rng = Random(seed)
    done = in_order(rng, 25)
    puts = [one for one in done if one.kind == "put" and one.end is not None and one.key == "x"]
    if len(puts) < 2:
        return
    after = max(one.end or one.call for one in done) + 1
    stale = Operation("late", "x", after, after + 1, "get", None, puts[0].argument)
    final = Operation("late", "x", after + 2, after + 3, "put", "last")
    again = Operation("late", "x", after + 4, after + 5, "get", None, puts[0].argument)
    assert check([*done, final, again]) is not None
    truth = check([*done, stale])
    assert truth is None or truth.decided


def brute_force(done: Sequence[Operation]) -> bool:
    """Try every order of every choice of the unanswered operations."""
    lost = [one for one in done if one.end is None]
    sure = [one for one in done if one.end is not None]
    where = {"x": 0, "y": 1}
    for count in range(len(lost) + 1):
        for chosen in itertools.combinations(lost, count):
            for order in itertools.permutations([*sure, *chosen]):
                if _fits(order, where):
                    return True
    return False


def _fits(order: Sequence[Operation], where: dict[str, int]) -> bool:
    state: tuple[Hashable, ...] | None = (None, None)
    for number, one in enumerate(order):
        if any(later.end is not None and later.end < one.call for later in order[number + 1 :]):
            return False
        assert state is not None
        state = _step(one, state, where)
        if state is None:
            return False
    return True


@settings(max_examples=200)
@given(st.integers(0, 1 << 32))
def test_it_agrees_with_brute_force(seed: int) -> None:
    rng = Random(seed)
    done = in_order(rng, rng.randrange(2, 7), clients=3)
    if rng.random() < 0.7 and done:  # tell somebody something else
        victim = rng.randrange(len(done))
        one = done[victim]
        wrong: Hashable = rng.choice([None, "0", "1", "2", True, False])
        if one.kind in ("cas", "txn", "delete"):
            wrong = rng.choice([True, False])
        done[victim] = Operation(
            one.client, one.key, one.call, one.end, one.kind, one.argument, wrong
        )
    assert (check(done) is None) == brute_force(done)
