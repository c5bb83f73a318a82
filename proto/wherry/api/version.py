"""Which Kubernetes this is, as far as clients ask: `/version` and a node's kubeletVersion agree."""

from typing import Final

MAJOR: Final = "1"
MINOR: Final = "33"
KUBERNETES: Final = "v1.33.1+wherry"
