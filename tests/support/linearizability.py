"""Is there one order of these operations in which everybody saw the truth?

A history is *linearizable* when every operation can be given one instant between its call and
its answer such that, done in the order of those instants by one client on one machine, all of
them give the answers that were given (Herlihy and Wing 1990).

    Operation("c1", "/a", call=1.0, end=1.2, kind="put", argument="7", result=None)
    Operation("c2", "/a", call=1.1, end=1.3, kind="get", argument=None, result="7")
    assert check(history) is None

    kind    argument                     result
    put     the value                    ignored
    get     ignored                      the value; None: the key is absent
    delete  ignored                      True, False: whether it existed; None: not told
    cas     (expected, new)              whether it did; expected None: absent, new None: delete
    txn     Txn(expected, writes)        whether it did; `key` is ignored

`end` None says that the outcome was never learnt: the operation may take effect at any later
time, or never. Such operations make the search wide; an answer is worth much.

The search is that of Wing and Gong (1993) with Lowe's memory (2017): states of the search that
were seen before, as (what has been done, state of the keys), are not entered again. Keys are
judged one by one, which is as good (linearizability is local) and far cheaper; transactions
tie the keys that they name together. It is iterative, deterministic, and counts its steps: a
history that is too hard is reported as *undecided*, never as good.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["put", "get", "delete", "cas", "txn"]
MAX_STEPS: Final = 2_000_000
_State = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class Txn:
    """If every key holds what is expected, write; None stands for an absent key."""

    expected: tuple[tuple[str, Hashable], ...]
    writes: tuple[tuple[str, Hashable], ...]

    def keys(self) -> list[str]:
        """Every key that it names."""
        return [key for key, _ in (*self.expected, *self.writes)]


@dataclass(frozen=True, slots=True)
class Operation:
    """One request of a client that does one thing at a time; see the module for its fields."""

    client: str
    key: str
    call: float
    end: float | None
    kind: Kind
    argument: Hashable = None
    result: Hashable = None

    def __str__(self) -> str:
        until = "never answered" if self.end is None else f"{self.end:.6f} -> {self.result!r}"
        what = "" if self.argument is None else f" {self.argument!r}"
        return f"{self.client}: {self.call:.6f} {self.kind} {self.key}{what} ... {until}"


@dataclass(frozen=True, slots=True)
class Violation:
    """Why a history was not accepted.

    Attributes:
        keys: Where.
        decided: Whether it is proven; False: the search was given up, nobody knows.
        order: The longest part of an order that was found.
        stuck: The operations that then had to come, and none could.
    """

    keys: tuple[str, ...]
    decided: bool
    order: tuple[Operation, ...] = field(repr=False)
    stuck: tuple[Operation, ...] = field(repr=False)

    def __str__(self) -> str:
        keys = ", ".join(self.keys)
        if not self.decided:
            return f"undecided: the operations on {keys} are too hard to order"
        tail = "".join(f"\n    {one}" for one in self.order[-12:])
        none = "".join(f"\n    {one}" for one in self.stuck[:12])
        return f"not linearizable: {keys}\n  in this order ...{tail}\n  none of these fits:{none}"


def check(
    history: Iterable[Operation],
    *,
    initial: Mapping[str, Hashable] | None = None,
    max_steps: int = MAX_STEPS,
) -> Violation | None:
    """Return None if the history is linearizable, else where and why not.

    Args:
        history: In any order.
        initial: What keys held before; others were absent.
        max_steps: Steps of the search for each group of keys.

    Raises:
        ValueError: an operation ends before it begins.
    """
    for keys, operations in _groups(history):
        state = tuple((initial or {}).get(key) for key in keys)
        violation = _Search(keys, operations, state).run(max_steps)
        if violation is not None:
            return violation
    return None


# ---- one group of keys that must be judged together


def _groups(history: Iterable[Operation]) -> list[tuple[tuple[str, ...], list[Operation]]]:
    """Split a history by key; transactions join their keys' groups."""
    operations = list(history)
    root: dict[str, str] = {}

    def find(key: str) -> str:
        root.setdefault(key, key)
        while root[key] != key:
            root[key] = root[root[key]]
            key = root[key]
        return key

    for one in operations:
        if one.end is not None and one.end < one.call:
            raise ValueError(f"ends before it begins: {one}")
        keys = _keys(one)
        for key in keys[1:]:
            root[find(key)] = find(keys[0])
    members: dict[str, dict[str, None]] = {}
    done: dict[str, list[Operation]] = {}
    for one in operations:
        keys = _keys(one)
        if not keys:
            continue
        group = find(keys[0])
        members.setdefault(group, {}).update(dict.fromkeys(keys))
        done.setdefault(group, []).append(one)
    return [(tuple(sorted(members[group])), done[group]) for group in done]


def _keys(one: Operation) -> list[str]:
    return one.argument.keys() if isinstance(one.argument, Txn) else [one.key]


def _step(one: Operation, state: _State, where: Mapping[str, int]) -> _State | None:
    """Return the state after an operation; None if its answer does not fit this state."""
    told = one.end is not None
    if one.kind == "txn":
        return _transact(one, state, where)
    position = where[one.key]
    now = state[position]
    after = now
    if one.kind == "put":
        after = one.argument
    elif one.kind == "get":
        if told and one.result != now:
            return None
    elif one.kind == "delete":
        if told and one.result is not None and one.result != (now is not None):
            return None
        after = None
    else:
        if not isinstance(one.argument, tuple):
            raise TypeError(f"a cas without (expected, new): {one}")
        expected, new = one.argument
        if told and one.result != (now == expected):
            return None
        after = new if now == expected else now
    return (*state[:position], after, *state[position + 1 :])


def _transact(one: Operation, state: _State, where: Mapping[str, int]) -> _State | None:
    txn = one.argument
    if not isinstance(txn, Txn):
        raise TypeError(f"a txn without a Txn: {one}")
    holds = all(state[where[key]] == value for key, value in txn.expected)
    if one.end is not None and one.result != holds:
        return None
    if not holds:
        return state
    after = list(state)
    for key, value in txn.writes:
        after[where[key]] = value
    return tuple(after)


def _worthwhile(operations: Sequence[Operation]) -> list[Operation]:
    """Leave out what cannot matter: among only puts and gets, an unanswered put that nobody saw.

    Any order with it is an order without it, for no answer depends on it; and unanswered reads
    say nothing at all.
    """
    plain = all(one.kind in ("put", "get") for one in operations)
    seen = {one.result for one in operations if one.kind == "get" and one.end is not None}
    return [
        one
        for one in operations
        if one.end is not None or not (one.kind == "get" or (plain and one.argument not in seen))
    ]


class _Node:
    """A call or an answer, in a doubly linked list ordered by time."""

    __slots__ = ("answer", "bit", "next", "operation", "prev")

    def __init__(self, operation: Operation, bit: int, *, call: bool) -> None:
        self.operation = operation
        self.bit = bit
        self.answer: _Node | None = None  # of a call; None when it was never answered
        self.prev: _Node | None = None
        self.next: _Node | None = None
        if not call:
            self.answer = self  # which tells answers from calls

    def lift(self) -> None:
        """Take a node out."""
        if self.prev is not None:
            self.prev.next = self.next
        if self.next is not None:
            self.next.prev = self.prev

    def unlift(self) -> None:
        """Put it back where it was."""
        if self.prev is not None:
            self.prev.next = self
        if self.next is not None:
            self.next.prev = self


class _Search:
    def __init__(self, keys: tuple[str, ...], operations: list[Operation], state: _State) -> None:
        self._keys = keys
        self._where = {key: position for position, key in enumerate(keys)}
        self._state = state
        self._head, self._open = _linked(_worthwhile(operations))
        self._done = 0  # bits of the operations that have their place
        self._order: list[tuple[_Node, _State]] = []  # each with the state before it
        self._best: tuple[Operation, ...] = ()
        self._stuck: tuple[Operation, ...] = ()

    def run(self, max_steps: int) -> Violation | None:
        seen: set[tuple[int, _State]] = set()
        node = self._head.next
        steps = 0
        while self._open:
            steps += 1
            if steps > max_steps:
                return Violation(self._keys, False, self._best, ())
            if node is None or node.answer is node:  # somebody was answered, and has no place yet
                self._remember()
                if not self._order:
                    return Violation(self._keys, True, self._best, self._stuck)
                node = self._back()
                continue
            after = _step(node.operation, self._state, self._where)
            if after is None or (self._done | node.bit, after) in seen:
                node = node.next
                continue
            seen.add((self._done | node.bit, after))
            node = self._place(node, after)
        return None

    def _place(self, node: _Node, after: _State) -> _Node | None:
        self._order.append((node, self._state))
        self._state = after
        self._done |= node.bit
        node.lift()
        if node.answer is not None:
            node.answer.lift()
            self._open -= 1
        return self._head.next

    def _back(self) -> _Node | None:
        node, self._state = self._order.pop()
        self._done &= ~node.bit
        if node.answer is not None:
            node.answer.unlift()
            self._open += 1
        node.unlift()
        return node.next

    def _remember(self) -> None:
        if len(self._order) < len(self._best) or (self._stuck and not self._order):
            return
        self._best = tuple(node.operation for node, _ in self._order)
        stuck: list[Operation] = []
        node = self._head.next
        while node is not None and node.answer is not node:
            stuck.append(node.operation)
            node = node.next
        self._stuck = tuple(stuck)


def _linked(operations: list[Operation]) -> tuple[_Node, int]:
    """Return the head of the list of all calls and answers, and how many answers there are.

    Calls come before answers of the same instant: they may have overlapped.
    """
    moments: list[tuple[float, int, int, _Node]] = []
    answered = 0
    for number, one in enumerate(operations):
        call = _Node(one, 1 << number, call=True)
        moments.append((one.call, 0, number, call))
        if one.end is not None:
            answered += 1
            call.answer = _Node(one, 1 << number, call=False)
            moments.append((one.end, 1, number, call.answer))
    moments.sort(key=lambda moment: moment[:3])
    head = last = _Node(Operation("", "", 0, None, "get"), 0, call=True)
    for _, _, _, node in moments:
        node.prev, last.next = last, node
        last = node
    return head, answered
