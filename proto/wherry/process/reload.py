"""Take renewed files into use without a restart."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from wherry.pki.tls import TlsFiles

log = logging.getLogger(__name__)
EVERY_S: Final = 10.0


class Reload:
    """Loads files whenever one of them was written.

    While they cannot be loaded, what was loaded stays in use, and they are looked at again.

    Args:
        files: The files; the first one is named in the log.
        load: Reads them. Raises OSError or ValueError where they cannot be used.
    """

    def __init__(self, files: Sequence[Path], load: Callable[[], None]) -> None:
        self._files = files
        self._load = load
        self._seen = self._times()

    async def run(self) -> None:
        """Look from time to time, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            self.check()

    def check(self) -> None:
        """Load the files if they are not those that were loaded last."""
        times = self._times()
        if not times or times == self._seen:
            return
        try:
            self._load()
        except (OSError, ValueError) as error:
            log.warning("keeping the old certificate %s: %s", self._files[0], error)
        else:
            self._seen = times
            log.info("using the new certificate %s", self._files[0])

    def _times(self) -> tuple[int, ...]:
        try:
            return tuple(path.stat().st_mtime_ns for path in self._files)
        except OSError:
            return ()


class CertificateReload(Reload):
    """Loads certificate, key and authority into a context whenever the files were written.

    Connections that stand keep the old ones. An authority that is new in its file is trusted
    from then on; one that is gone from it, which OpenSSL cannot forget, until the next start:
    who has to know it looks at each request (`wherry.pki.trust`). Files that do not belong
    together, as between two renames, cannot be loaded.
    """

    def __init__(self, context: ssl.SSLContext, files: TlsFiles) -> None:
        def load() -> None:
            context.load_cert_chain(files.cert, files.key)
            context.load_verify_locations(files.ca)

        super().__init__((files.cert, files.key, files.ca), load)
