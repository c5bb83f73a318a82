"""The registry: Kubernetes' verbs on objects, performed as transactions on the store.

prepare, deletion, scale, binding, approval,
ephemeral, resize, eviction, managed    decisions: objects in, objects out
namespace_content, token_request        what comes with a namespace; a ServiceAccount's token
write                                   a plan becomes one transaction, retried and settled
read                                    get, list and watch with resourceVersion semantics
create, change, remove, actions         one verb each: which decisions are taken, in which order
parts                                   what they share
registry                                `Registry`, which puts them together
"""

from wherry.apiserver.registry.config import RegistryConfig
from wherry.apiserver.registry.registry import Registry

__all__ = ["Registry", "RegistryConfig"]
