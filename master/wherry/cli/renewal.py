"""Renews a node's certificates before they expire, as the node itself.

A certificate is due when 70 to 90 % of its life are over (the kubelet's numbers); where in
between is chance, so that nodes that joined together do not come back together. The
processes take the new files into use by themselves: clients with their next call, the
agent's server within seconds.
"""

import asyncio
import logging
from collections.abc import Mapping
from random import Random
from typing import Final

from wherry.api.clock import Clock
from wherry.api.errors import ConfigError, StatusError, UnavailableError
from wherry.cli.obtain import obtain
from wherry.cli.pairs import Pairs
from wherry.cli.rest import Objects
from wherry.client.backoff import Backoff
from wherry.pki.certificates import BACKDATE_S
from wherry.pki.request import validity
from wherry.pki.subject import Subject

log = logging.getLogger(__name__)
EARLIEST, LATEST = 0.7, 0.9
LOOK_S: Final = 3600.0
"""Longest sleep: clocks are set, files are replaced by hand."""
_LEAST_S: Final = 1.0


def due_s(certificate: bytes, chance: float) -> float:
    """Return when a certificate (PEM) should be renewed, epoch seconds.

    Args:
        certificate: The certificate.
        chance: Evenly from 0 to 1.

    Raises:
        ValueError: it is no certificate.
    """
    begin_s, end_s = validity(certificate)
    issued_s = begin_s + BACKDATE_S
    return issued_s + (EARLIEST + (LATEST - EARLIEST) * chance) * (end_s - issued_s)


class Renewal:
    """See the module.

    Args:
        pairs: The certificates.
        subjects: Whom each is to name, by file name.
        api: The API server, where we are `requester`.
        requester: `system:node:NAME`.
        clock: The date.
        rng: When exactly a certificate is due; jitter.
    """

    def __init__(
        self,
        pairs: Pairs,
        subjects: Mapping[str, Subject],
        api: Objects,
        *,
        requester: str,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._pairs = pairs
        self._subjects = subjects
        self._api = api
        self._requester = requester
        self._clock = clock
        self._rng = rng
        self._chances = {name: rng.random() for name in subjects}
        self._backoff = Backoff(rng, first_s=5.0, most_s=600.0)

    async def run(self) -> None:
        """Renew what is due, again and again, until cancelled."""
        while True:
            failed = [name for name in self._subjects if not await self._keep(name)]
            if failed:
                wait_s = self._backoff.next_s()
            else:
                self._backoff.reset()
                wait_s = min(map(self._left_s, self._subjects))
            await asyncio.sleep(min(max(wait_s, _LEAST_S), LOOK_S))

    async def _keep(self, name: str) -> bool:
        """Renew a certificate if it is due; False if that failed."""
        self._pairs.settle(name)
        if self._left_s(name) > 0:
            return True
        subject = self._subjects[name]
        try:
            certificate = await obtain(
                self._api,
                subject,
                self._pairs.next_key(name),
                requester=self._requester,
                rng=self._rng,
            )
            self._pairs.install(name, certificate)
        except (ConfigError, StatusError, UnavailableError, OSError) as error:
            log.warning("cannot renew the certificate %s%s: %s", name, self._hint(name), error)
            return False
        self._chances[name] = self._rng.random()
        log.info("renewed the certificate %s", name)
        return True

    def _hint(self, name: str) -> str:
        """Say what to do when it is too late; nobody is let in with an expired certificate."""
        certificate = self._pairs.read(name)
        late = bool(certificate) and validity(certificate)[1] <= self._clock.now()
        return ", which has expired (run 'wherry join' again)" if late else ""

    def _left_s(self, name: str) -> float:
        """Return how long until the certificate is due; one that cannot be read is due now."""
        try:
            return due_s(self._pairs.read(name), self._chances[name]) - self._clock.now()
        except ValueError:
            return 0.0
