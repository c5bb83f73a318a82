"""Controllers of certificate requests, loaded when the first request is seen.

They need the library of cryptography, 8 MB of memory and a tenth of a start, and a cluster to
which nobody joins never asks it.
"""

import importlib
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from wherry.api.kinds import CERTIFICATE_SIGNING_REQUEST, ENDPOINTS, SERVICE
from wherry.controllers.framework import (
    Caches,
    Controller,
    Environment,
    Index,
    Result,
    Source,
    own_key,
)


def nobody(_caches: Caches, _old: Any, _new: Any) -> Iterable[str]:
    """Wake nothing: the kind is only looked at."""
    return ()


CSR_SOURCES = (
    Source(CERTIFICATE_SIGNING_REQUEST, own_key),
    Source(SERVICE, nobody),
    Source(ENDPOINTS, nobody),
)
"""What all of them look at."""


class OnDemand:
    """A controller of certificate requests that is made when it is first needed.

    Args:
        module: Where it is.
        make: Makes it from its module.
    """

    indices: tuple[Index, ...] = ()
    sources = CSR_SOURCES

    def __init__(self, module: str, make: Callable[[ModuleType], Controller]) -> None:
        self.name = f"certificatesigningrequest-{module.rpartition('_')[2]}-controller"
        self._module = module
        self._make = make
        self._made: Controller | None = None

    async def reconcile(self, key: str, env: Environment) -> Result:
        """See the controller itself."""
        if self._made is None:
            self._made = self._make(importlib.import_module(self._module))
        return await self._made.reconcile(key, env)
