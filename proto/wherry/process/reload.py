"""Take a renewed certificate into use without a restart."""

import asyncio
import logging
import ssl
from typing import Final

from wherry.pki.tls import TlsFiles

log = logging.getLogger(__name__)
EVERY_S: Final = 10.0


class CertificateReload:
    """Loads certificate, key and authority into a context whenever the files were written.

    Connections that stand keep the old ones. An authority that is new in its file is trusted
    from then on; one that is gone from it, which OpenSSL cannot forget, until the next start. While the files do not belong together, as
    between two renames, the old ones stay in use, and the files are looked at again.
    """

    def __init__(self, context: ssl.SSLContext, files: TlsFiles) -> None:
        self._context = context
        self._files = files
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
            self._context.load_cert_chain(self._files.cert, self._files.key)
            self._context.load_verify_locations(self._files.ca)
        except (OSError, ssl.SSLError) as error:
            log.warning("keeping the old certificate %s: %s", self._files.cert, error)
        else:
            self._seen = times
            log.info("using the new certificate %s", self._files.cert)

    def _times(self) -> tuple[int, ...]:
        try:
            files = (self._files.cert, self._files.key, self._files.ca)
            return tuple(path.stat().st_mtime_ns for path in files)
        except OSError:
            return ()
