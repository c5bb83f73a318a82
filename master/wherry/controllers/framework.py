"""What a controller is, for those who decide and for the one driver that performs.

A controller names the kinds that it looks at (`Source`), which keys a change of them
wakes, and a `reconcile` that turns a key into the `Action`s to do next. It never calls the
API to change anything: `wherry.controllers.driver` performs the actions, remembers what
the caches have not shown yet, and calls again.

    cache event -> Source.keys -> work queue -> reconcile(key, env) -> Result -> driver -> Api
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from wherry.api.kinds import KINDS, Kind
from wherry.api.objects import Meta, ObjectMeta

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Emit:
    """Record an event about `ref` (an `involvedObject`)."""

    ref: Json
    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Telling:
    """How to report the outcome of an action on `ref`.

    `success` and `failure` are (reason, text); in the text `{name}` stands for the object
    that was acted on and `{error}` for what went wrong.
    """

    ref: Json
    success: tuple[str, str] | None = None
    failure: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Create:
    """Create `count` objects from one body; names may come from `generateName`.

    An object of the same name that exists is not an error where `exists_ok`.
    """

    kind: Kind
    namespace: str
    body: Json
    count: int = 1
    exists_ok: bool = False
    telling: Telling | None = None


@dataclass(frozen=True, slots=True)
class Patch:
    """Merge `body` into an object, or into its status.

    With `revision` only if the object is still at it; with `uid` only that incarnation.
    """

    kind: Kind
    namespace: str
    name: str
    body: Json
    subresource: str = ""
    uid: str = ""
    revision: str = ""
    telling: Telling | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the object if it still has this uid; an object that is gone is no error."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    grace_s: int | None = None
    propagation: str = ""
    telling: Telling | None = None


@dataclass(frozen=True, slots=True)
class Finalize:
    """Take the `kubernetes` finalizer off a Namespace's spec, which lets it go."""

    name: str
    uid: str


Action = Create | Patch | Delete | Finalize | Emit


@dataclass(frozen=True, slots=True)
class Result:
    """What one pass decided: actions in order, and when to look again without being woken."""

    actions: Sequence[Action] = ()
    again_s: float | None = None


NOTHING = Result()


class Cache(Protocol):
    """One kind as last seen: the reading half of an informer."""

    def get(self, key: str) -> Any:
        """Return the view at `namespace/name` (or `name`), None where absent."""
        ...

    def values(self) -> Sequence[Any]:
        """Return all views."""
        ...

    def by_index(self, name: str, value: str) -> Sequence[Any]:
        """Return the views that the index `name` holds under `value`."""
        ...


class Caches(Protocol):
    """All caches, by kind."""

    def __getitem__(self, kind: Kind) -> Cache:
        """Return the cache of a kind that some source names."""
        ...

    def __contains__(self, kind: object) -> bool:
        """Tell whether the kind is cached."""
        ...


class Environment(Protocol):
    """What a pass may look at."""

    @property
    def caches(self) -> Caches:
        """The local copies."""
        ...

    @property
    def now(self) -> float:
        """The date, epoch seconds."""
        ...

    @property
    def current(self) -> bool:
        """False while writes of an earlier pass for this key are not in the caches yet.

        Counting objects in a stale cache is how a controller creates them twice.
        """
        ...

    @property
    def failure(self) -> str:
        """Why the last pass for this key failed to perform its actions, "" if it did not."""
        ...

    async def fetch(self, kind: Kind, name: str, namespace: str = "") -> Meta | None:
        """Read an object's metadata past the cache, None if there is none."""
        ...

    async def fetch_all(self, kind: Kind, namespace: str) -> Sequence[Meta]:
        """Read the metadata of all objects of a namespace past the cache."""
        ...


Keys = Callable[[Caches, Any, Any], Iterable[str]]
"""(caches, old view or None, new view or None) -> the keys that this change wakes."""


@dataclass(frozen=True, slots=True)
class Source:
    """A kind that a controller looks at; `delay_s` lets a burst of changes become one pass."""

    kind: Kind
    keys: Keys
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Index:
    """An index that a controller needs on a cache."""

    kind: Kind
    name: str
    keys_of: Callable[[Any], Iterable[str]]


class Controller(Protocol):
    """One control loop."""

    @property
    def name(self) -> str:
        """Name in logs and metrics, as in kube-controller-manager."""
        ...

    @property
    def sources(self) -> Sequence[Source]:
        """Kinds whose changes wake keys."""
        ...

    @property
    def indices(self) -> Sequence[Index]:
        """Indices that `reconcile` asks."""
        ...

    async def reconcile(self, key: str, env: Environment) -> Result:
        """Decide what to do about one key; called for one key by one worker at a time."""
        ...


def own_key(_caches: Caches, old: Any, new: Any) -> Iterable[str]:
    """Wake the object itself."""
    return (_any(old, new).metadata.key,)


def namespace_key(_caches: Caches, old: Any, new: Any) -> Iterable[str]:
    """Wake the namespace that the object lies in."""
    return (_any(old, new).metadata.namespace,)


def controller_keys(kind: Kind) -> Keys:
    """Wake the controlling owners, before and after the change, that are of `kind`."""

    def keys(_caches: Caches, old: Any, new: Any) -> Iterable[str]:
        found = set()
        for obj in (old, new):
            ref = obj.metadata.controller if obj is not None else None
            if ref is not None and ref.kind == kind.kind and ref.api_version == kind.api_version:
                found.add(f"{obj.metadata.namespace}/{ref.name}")
        return found

    return keys


def _any(old: Any, new: Any) -> Any:
    return old if new is None else new


def split_key(key: str) -> tuple[str, str]:
    """Return (namespace, name) of `namespace/name`; namespace is "" for cluster-scoped kinds."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


def controller_uid_index(obj: Any) -> Iterable[str]:
    """Index by the uid of the controlling owner."""
    ref = obj.metadata.controller
    return (ref.uid,) if ref is not None else ()


def orphan_index(obj: Any) -> Iterable[str]:
    """Index objects without a controlling owner by namespace."""
    return () if obj.metadata.controller is not None else (obj.metadata.namespace,)


def namespace_index(obj: Any) -> Iterable[str]:
    """Index by namespace."""
    return (obj.metadata.namespace,)


CONTROLLER_UID = "controllerUID"
ORPHANS = "orphans"
NAMESPACE_INDEX = "namespace"


def reference(kind: Kind, meta: ObjectMeta) -> Json:
    """Return the `involvedObject` of an object."""
    ref = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "namespace": meta.namespace,
        "name": meta.name,
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
    }
    return {key: value for key, value in ref.items() if value}


def controller_reference(kind: Kind, meta: ObjectMeta) -> Json:
    """Return the ownerReference by which a controller marks what it made."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": meta.name,
        "uid": meta.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


@dataclass(frozen=True, slots=True)
class Kinds:
    """Finds the `Kind` that an ownerReference means."""

    by_address: Mapping[tuple[str, str], Kind] = field(
        default_factory=lambda: {(k.api_version, k.kind): k for k in KINDS}
    )

    def find(self, api_version: str, kind: str) -> Kind | None:
        """Return the kind, None if it is not one of ours."""
        return self.by_address.get((api_version, kind))
