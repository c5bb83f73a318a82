"""The types of the API: what may stand in which field of which kind.

    definitions   the generated table (`scripts/schema`) and our own kinds, by name and address
    own           the kinds of the group wherry.io
    scalar        values with a format: quantities, times, base64, int-or-string
    check         a definition compiled into a function that checks and normalises a value
    prose         descriptions for `kubectl explain`, where the optional extra is installed

What is stored was checked here: one pod with `image: true` makes every Go client's list of
pods fail, because it cannot decode the answer.
"""

from wherry.apiserver.schema.check import Refuse, Schema, get_schema, normalize
from wherry.apiserver.schema.definitions import GVK, Definitions, gvk_of
from wherry.apiserver.schema.problem import Problem

__all__ = [
    "GVK",
    "Definitions",
    "Problem",
    "Refuse",
    "Schema",
    "get_schema",
    "gvk_of",
    "normalize",
]
