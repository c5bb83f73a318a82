"""What is created in one transaction with a namespace: its `default` account and the cluster's authority.

So a pod may follow its namespace at once. Upstream's controllers make both a moment later, and
until then refuse pods, or let them wait for a volume; ours only bring back what was deleted.
"""

from collections.abc import Sequence

from wherry.api import kinds
from wherry.api.namespace_content import default_account, root_ca
from wherry.apiserver.name import new_uid
from wherry.apiserver.plan import Guard
from wherry.apiserver.registry import prepare
from wherry.apiserver.registry.parts import Parts, target_of
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.storage import encode
from wherry.store.kv import Compare, Op, Put, Target


async def content_of(
    parts: Parts, namespace: str, *, again: bool
) -> tuple[Sequence[Guard], Sequence[Op]]:
    """Return what must not be there yet, and the writes that create it.

    Args:
        parts: The registry's.
        namespace: Its name.
        again: The first attempt failed: leave out what an earlier namespace of this name left behind.
    """
    objects = [(kinds.SERVICE_ACCOUNT, default_account(namespace))]
    if parts.root_ca:
        objects.append((kinds.CONFIG_MAP, root_ca(namespace, parts.root_ca)))
    guards: list[Guard] = []
    ops: list[Op] = []
    for kind, obj in objects:
        target = target_of(BY_KIND[kind], namespace, obj["metadata"]["name"])
        if again and await parts.find(target.resource, namespace, target.name, fresh=True):
            continue
        obj |= {"apiVersion": kind.api_version, "kind": kind.kind}
        prepare.begin_create(target, obj, now=parts.clock.now(), uid=new_uid(parts.rng))
        key = target.resource.key(namespace, target.name)
        guards.append(Guard(Compare(key, Target.CREATE, "=", 0)))
        ops.append(Put(key, encode(obj)))
    return guards, ops
