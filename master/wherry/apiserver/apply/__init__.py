r"""Server-side apply and the tracking of field managers. Pure: objects in, objects out.

An object remembers in `metadata.managedFields` who set which of its fields. A manager is a name, an
operation (Apply or Update), an API version and a subresource; what it owns is a set of paths in
the form FieldsV1, which is kept here as the nested dict that it is on the wire:

    {"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}}}}}

    fieldset   the algebra of these sets: union, difference, intersection
    types      what a field of a kind is to apply: leaf, atomic, map, associative list, set
    typed      what of a configuration its types cannot hold
    walk       values and types to sets: what a configuration sets, what a write changed
    merge      a configuration merged into an object; what its applier gave up, pruned
    entries    the managers of an object, read from and written to `managedFields`
    tracking   what a write does to the managers; apply itself
    upgrade    from client-side apply: kubectl's last-applied annotation

Source: structured-merge-diff and apimachinery `managedfields`, whose results are followed.
"""

from wherry.apiserver.apply.tracking import Applied, Tracker, manager_of
from wherry.apiserver.apply.typed import problems

__all__ = ["Applied", "Tracker", "manager_of", "problems"]
