"""A `Gate` for tests: believes certificates and the tokens it is given, forbids what it is told."""

from collections.abc import Sequence
from typing import Any

from wherry.api.errors import UnauthorizedError
from wherry.apiserver.certified import Certified
from wherry.apiserver.gate import Attributes, Decision
from wherry.apiserver.verbs import User
from wherry.pki.certificates import identity


class OpenGate:
    """`forbidden` holds (user, verb) pairs; of one that is `shut` nobody may anything.

    `expired` are users whose certificates no longer count, `until_s` is how long others may be
    remembered.
    """

    def __init__(self) -> None:
        self.tokens: dict[str, User] = {}
        self.forbidden: set[tuple[str, str]] = set()
        self.expired: set[str] = set()
        self.until_s = float("inf")
        self.shut = False
        self.asked: list[Attributes] = []

    async def authenticate(self, certificate: bytes | None, token: str) -> User:
        if certificate is not None:
            user = User(*identity(certificate))
            if user.name in self.expired:
                raise UnauthorizedError("Unauthorized")
            return user
        if token in self.tokens:
            return self.tokens[token]
        raise UnauthorizedError("Unauthorized")

    def certified(self, certificate: bytes) -> Certified | None:
        return Certified(User(*identity(certificate)), until_s=self.until_s)

    async def review(self, token: str, audiences: Sequence[str]) -> tuple[User, tuple[str, ...]]:
        return await self.authenticate(None, token), tuple(audiences)

    def decide(self, user: User, attributes: Attributes) -> Decision:
        self.asked.append(attributes)
        return Decision(not self.shut and (user.name, attributes.verb) not in self.forbidden)

    def rules(self, user: User, namespace: str) -> tuple[Sequence[Any], Sequence[Any]]:
        return [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}], []
