"""Certificates for tests: one authority, and files for whoever is asked for."""

from pathlib import Path

from wherry.pki.certificates import create_ca, issue
from wherry.pki.subject import Subject
from wherry.pki.tls import TlsFiles
from wherry.process.clock import SystemClock


class TestPki:
    """Writes `NAME.crt`, `NAME.key` and `ca.crt` into a directory."""

    __test__ = False

    def __init__(self, directory: Path, name: str = "test-ca") -> None:
        self._directory = directory
        self._now_s = SystemClock().now()
        self._ca = create_ca(name, now_s=self._now_s)
        self.ca = directory / "ca.crt"
        self.ca.write_bytes(self._ca.certificate)

    def files(
        self, user: str, groups: tuple[str, ...] = (), *, server: bool = False, name: str = ""
    ) -> TlsFiles:
        """Issue a certificate; a server's is for 127.0.0.1 and localhost."""
        hosts = ("127.0.0.1", "localhost") if server else ()
        subject = Subject(user, groups, hosts, server=server, client=True)
        pair = issue(self._ca, subject, now_s=self._now_s)
        stem = self._directory / (name or user.replace(":", "-"))
        cert, key = stem.with_suffix(".crt"), stem.with_suffix(".key")
        cert.write_bytes(pair.certificate)
        key.write_bytes(pair.key)
        return TlsFiles(cert, key, self.ca)

    def admin(self) -> TlsFiles:
        """Issue the administrator's certificate."""
        return self.files("admin", ("system:masters",))
