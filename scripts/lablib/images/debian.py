"""Debian packages: which versions apt would give us, and their contents. Nothing is installed."""

import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from lablib.errors import LabError
from lablib.shell import run

_ADVICE: Final = "the images are made from Debian packages: check `apt-get update`"


def candidates(packages: Iterable[str]) -> dict[str, str]:
    """The version of each package that apt would install.

    Raises:
        LabError: apt does not know one of them.
    """
    wanted = sorted(set(packages))
    text = run(["apt-cache", "show", "--no-all-versions", *wanted], advice=_ADVICE)
    found: dict[str, str] = {}
    for stanza in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version): (\S+)$", stanza, re.MULTILINE))
        if "Package" in fields:
            found.setdefault(fields["Package"], fields["Version"])
    unknown = [name for name in wanted if name not in found]
    if unknown:
        raise LabError(f"apt knows no package {' '.join(unknown)}", _ADVICE)
    return found


def download(versions: dict[str, str], directory: Path) -> dict[str, Path]:
    """Fetch these packages into `directory` (those already there are kept); where each is.

    Raises:
        LabError: apt could not.
    """
    directory.mkdir(parents=True, exist_ok=True)
    missing = [
        name for name, version in versions.items() if _find(directory, name, version) is None
    ]
    if missing:
        wanted = [f"{name}={versions[name]}" for name in missing]
        # apt drops its privileges for downloads and could then not write here.
        sandbox = ["-o", "APT::Sandbox::User=root"]
        try:
            _apt_get(["-qq", *sandbox, "download", *wanted], directory)
        except LabError:
            # A stale index names files that the mirror has replaced.
            run(["apt-get", "-qq", "update"], advice=_ADVICE, timeout_s=300)
            _apt_get(["-qq", *sandbox, "download", *wanted], directory)
    found = {name: _find(directory, name, version) for name, version in versions.items()}
    lost = [name for name, path in found.items() if path is None]
    if lost:
        raise LabError(f"apt-get download gave no file for {' '.join(lost)}", _ADVICE)
    return {name: path for name, path in found.items() if path is not None}


def filesystem(package: Path) -> bytes:
    """A package's files as a tar archive."""
    done = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", package], check=False, capture_output=True, timeout=120
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise LabError(
            f"{package} cannot be unpacked: {said}", f"remove it and try again: rm {package}"
        )
    return done.stdout


def upstream(version: str) -> str:
    """The upstream part of a Debian version: 1:1.35.0-4+deb12u1 is 1.35.0."""
    return re.sub(r"[-+~].*$", "", version.rpartition(":")[2])


def _find(directory: Path, name: str, version: str) -> Path | None:
    stem = f"{name}_{version.replace(':', '%3a')}_"
    return next((path for path in directory.glob("*.deb") if path.name.startswith(stem)), None)


def _apt_get(arguments: Sequence[str], directory: Path) -> None:
    done = subprocess.run(
        ["apt-get", *arguments],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode != 0:
        said = done.stderr.strip()
        raise LabError(f"apt-get: {said.splitlines()[-1] if said else 'failed'}", _ADVICE, said)
