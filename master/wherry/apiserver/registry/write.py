"""Performing plans: optimistic transactions, retried, and settled when the store went silent.

Every write is one transaction that compares the object's mod_revision, so two writers can
never overwrite each other unseen. The first attempt builds on the cache (no read is needed
when nobody interferes); whatever that attempt would refuse is decided again on a fresh read,
because a stale "no" would be a wrong answer.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec

from wherry.api.errors import (
    ConflictError,
    InternalError,
    ServiceUnavailableError,
    StatusError,
    UnavailableError,
)
from wherry.apiserver import refusal
from wherry.apiserver.cache.cache import WatchCache
from wherry.apiserver.plan import Current, Guard, Plan, Transform
from wherry.apiserver.registry.read import Reader
from wherry.apiserver.resources import Resource
from wherry.store.kv import (
    Compare,
    DeleteRange,
    KeyValue,
    LeaseNotFoundError,
    Op,
    Put,
    Range,
    RangeResult,
    Store,
    Target,
)

_ATTEMPTS = 100
"""Each lost race means that somebody else has written, so this ends long before."""


class Outcome(msgspec.Struct, frozen=True):
    """What is true after a write: the stored value, or with `deleted` the last one there was."""

    value: bytes
    revision: int
    deleted: bool = False


class Writer:
    """See the module."""

    def __init__(self, store: Store, reader: Reader, caches: dict[Resource, WatchCache]) -> None:
        self._store = store
        self._reader = reader
        self._caches = caches

    async def create(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        make: Callable[[int], Awaitable[Plan]],
        *,
        dry_run: bool,
    ) -> Outcome:
        """Write a new object; `make(attempt)` plans it.

        Raises:
            AlreadyExistsError: there is one of this name.
        """
        key = resource.key(namespace, name)
        taken = partial(refusal.already_exists, resource, name)
        absent = Guard(Compare(key, Target.CREATE, "=", 0), taken)
        for attempt in range(_ATTEMPTS):
            plan = await make(attempt)
            if dry_run:
                if await self._reader.find(key) is not None:
                    raise refusal.already_exists(resource, name)
                return Outcome(plan.value or b"", 0)
            outcome = await self._perform(resource, name, key, plan, [absent, *plan.guards])
            if isinstance(outcome, Outcome):
                return outcome
        raise InternalError(f"{_ATTEMPTS} attempts to write {name!r} met another writer")

    async def change(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        transform: Transform,
        *,
        dry_run: bool,
    ) -> Outcome:
        """Read, transform and write until no other writer comes between.

        Raises:
            NotFoundError: there is no such object.
            StatusError: what `transform` raised on the object as it really is.
        """
        key = resource.key(namespace, name)
        current = self._believed(resource, key) or await self._fresh(resource, key, name)
        for _ in range(_ATTEMPTS):
            try:
                plan = await transform(current)
            except StatusError:
                if current.fresh:
                    raise
                current = await self._fresh(resource, key, name)
                continue
            if dry_run or plan.value == current.value:
                if not current.fresh:
                    current = await self._fresh(resource, key, name)
                    continue
                value = current.value if plan.value is None else plan.value
                return Outcome(value, current.revision, deleted=plan.value is None)
            mine = Guard(Compare(key, Target.MOD, "=", current.revision))
            outcome = await self._perform(
                resource, name, key, plan, [mine, *plan.guards], last=current.value
            )
            if isinstance(outcome, Outcome):
                return outcome
            if outcome is None:
                raise refusal.not_found(resource, name)
            current = _current(outcome)
        raise ConflictError(f"{_ATTEMPTS} attempts to write {name!r} met another writer")

    def _believed(self, resource: Resource, key: bytes) -> Current | None:
        entry = self._caches[resource].get(key)
        return None if entry is None else Current(key, entry.value, entry.revision, fresh=False)

    async def _fresh(self, resource: Resource, key: bytes, name: str) -> Current:
        kv = await self._reader.find(key)
        if kv is None:
            raise refusal.not_found(resource, name)
        return _current(kv)

    async def _perform(
        self,
        resource: Resource,
        name: str,
        key: bytes,
        plan: Plan,
        guards: Sequence[Guard],
        last: bytes = b"",
    ) -> Outcome | KeyValue | None:
        """Run the transaction; on a lost race return the key as it is now.

        Raises:
            StatusError: the `lost` of the first guard that does not hold and has one.
            TimeoutStatusError: nobody can say whether it happened.
        """
        op: Op = DeleteRange(key) if plan.value is None else Put(key, plan.value, plan.lease)
        keys = list(dict.fromkeys([key, *[guard.compare.key for guard in guards]]))
        try:
            answer = await self._store.txn(
                [g.compare for g in guards], [op, *plan.also], [Range(each) for each in keys]
            )
        except LeaseNotFoundError as error:
            raise ServiceUnavailableError(str(error), retry_after_s=1) from error
        except UnavailableError as error:
            settled = await self._settle(key, plan)
            if settled is None:
                raise refusal.unknown_outcome(resource, name) from error
            return settled
        if answer.succeeded:
            deleted = plan.value is None
            return Outcome(last if plan.value is None else plan.value, answer.revision, deleted)
        states = dict(zip(keys, map(_first, answer.results), strict=True))
        for guard in guards:
            if guard.lost is not None and not _holds(guard.compare, states[guard.compare.key]):
                raise guard.lost()
        return states[key]

    async def _settle(self, key: bytes, plan: Plan) -> Outcome | None:
        """Look whether a write went through whose answer was lost.

        What was written is recognised by its bytes: they contain the uid. A deletion is not
        recognised: somebody else's would look the same, and the caller reads again anyway.
        """
        try:
            kv = await self._reader.find(key)
        except ServiceUnavailableError:
            return None
        if kv is not None and kv.value == plan.value:
            return Outcome(kv.value, kv.mod_revision)
        return None


def _current(kv: KeyValue) -> Current:
    return Current(kv.key, kv.value, kv.mod_revision, fresh=True)


def _first(result: object) -> KeyValue | None:
    if not isinstance(result, RangeResult):
        raise InternalError("the store answered a read with something else")
    return result.kvs[0] if result.kvs else None


def _holds(compare: Compare, kv: KeyValue | None) -> bool:
    """Tell whether a comparison of revisions for equality holds."""
    if compare.target is Target.CREATE:
        return (kv.create_revision if kv else 0) == compare.operand
    return (kv.mod_revision if kv else 0) == compare.operand
