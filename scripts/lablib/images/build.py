"""From Debian packages to a filled image registry, kept in a cache.

What is kept is the registry's own storage directory: a lab copies it and serves it. Its name
is a digest of the packages' versions and of the recipes, so an update of either makes a new
one, and nothing is made twice.
"""

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lablib import shell
from lablib.errors import LabError
from lablib.images import debian, oci, recipes
from lablib.images.rootfs import Rootfs
from lablib.layout import CACHE
from lablib.waiting import until

KEPT: Final = 3
_SOURCES: Final = ("build.py", "debian.py", "oci.py", "recipes.py", "rootfs.py")

_REGISTRY: Final = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {storage}}}
  delete: {{enabled: true}}
http: {{addr: "{address}"}}
"""


def render_registry_config(storage: Path, address: str) -> str:
    """docker-registry's configuration for serving `storage` at HOST:PORT."""
    return _REGISTRY.format(storage=json.dumps(str(storage)), address=address)


def cached_storage(cache: Path = CACHE) -> Path:
    """The storage directory of a registry that holds all images; made if need be.

    When apt cannot be asked (no network, no index), the newest one of earlier runs serves.

    Raises:
        LabError: there is none and it cannot be made.
    """
    names = {*recipes.BASE, *(name for recipe in recipes.RECIPES for name in recipe.packages)}
    try:
        versions = debian.candidates(names)
        storage = cache / "registry" / _key(versions)
        if not storage.exists():
            _fill(storage, versions, debian.download(versions, cache / "debs"))
    except LabError:
        older = _kept(cache)
        if not older:
            raise
        storage = older[-1]
    for old in _kept(cache)[:-KEPT]:
        if old != storage:
            shutil.rmtree(old)
    return storage


def _kept(cache: Path) -> list[Path]:
    found = (path for path in (cache / "registry").glob("*") if "." not in path.name)
    return sorted(found, key=lambda path: path.stat().st_mtime)


def _key(versions: Mapping[str, str]) -> str:
    here = Path(__file__).parent
    digest = hashlib.sha256(json.dumps(versions, sort_keys=True).encode())
    for name in _SOURCES:
        digest.update((here / name).read_bytes())
    return digest.hexdigest()[:16]


def _fill(storage: Path, versions: Mapping[str, str], packages: Mapping[str, Path]) -> None:
    """Build every image and push it to a registry that stores at `storage`."""
    storage.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build.", dir=storage.parent) as name:
        work = Path(name)
        with _serving(work / "storage", work) as address:
            for repository, images in build(versions, packages):
                directory = work / repository
                for path, data in oci.layout(images).items():
                    file = directory / path
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(data)
                for tag in images:
                    push(directory, tag, f"{address}/{repository}")
        (work / "storage").rename(storage)


def build(
    versions: Mapping[str, str], packages: Mapping[str, Path]
) -> Iterator[tuple[str, dict[str, oci.Image]]]:
    """Each repository with its images by tag."""
    applets = _applets(packages["busybox-static"])
    base_tree = Rootfs()
    for package in recipes.BASE:
        base_tree.unpack(debian.filesystem(packages[package]))
    recipes.finish_base(base_tree)
    recipes.busybox_commands(base_tree, applets)
    base = oci.Layer.of(base_tree.pack())
    for recipe in recipes.RECIPES:
        tree = Rootfs()
        for package in recipe.packages:
            tree.unpack(debian.filesystem(packages[package]))
        recipe.finish(tree)
        if "busybox-static" in recipe.packages:
            recipes.busybox_commands(tree, applets)
        layers = [*([base] if recipe.base else []), oci.Layer.of(tree.pack())]
        # Each tag is an image of its own (its label differs), so that `kubectl set image`
        # from one tag to another is a change that can be seen on the node.
        yield (
            recipe.repository,
            {
                tag: oci.Image(
                    layers,
                    {**recipe.config, "Labels": {"org.opencontainers.image.version": tag}},
                )
                for tag in recipe.tags_for(versions)
            },
        )


def _applets(package: Path) -> tuple[str, ...]:
    """The commands that the package's busybox has: it is static, so it runs from anywhere."""
    tree = Rootfs()
    tree.unpack(debian.filesystem(package))
    with tempfile.TemporaryDirectory(prefix="wherry-busybox-") as name:
        program = Path(name) / "busybox"
        program.write_bytes(tree.entries["usr/bin/busybox"].data)
        program.chmod(0o755)
        return tuple(shell.run([str(program), "--list"]).split())


def push(directory: Path, tag: str, destination: str) -> None:
    """Push the image `tag` of the OCI layout in `directory` to HOST:PORT/REPOSITORY.

    Raises:
        LabError: the registry refused it.
    """
    shell.run(
        [
            "skopeo",
            "copy",
            "--quiet",
            "--insecure-policy",
            "--dest-tls-verify=false",
            f"oci:{directory}:{tag}",
            f"docker://{destination}:{tag}",
        ]
    )


@contextmanager
def _serving(storage: Path, work: Path) -> Iterator[str]:
    """A registry on a loopback port of the kernel's choice while the block runs: its HOST:PORT."""
    config, log = work / "registry.yml", work / "registry.log"
    config.write_text(render_registry_config(storage, "127.0.0.1:0"))
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["docker-registry", "serve", config],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield until(
            lambda: _listening(process.pid),
            "the start of docker-registry",
            timeout_s=60,
            details=lambda: log.read_text(errors="replace"),
        )
    finally:
        process.terminate()
        process.wait(timeout=60)


def _listening(pid: int) -> str | None:
    for line in shell.run(["ss", "-H", "-ltnp"]).splitlines():
        if f"pid={pid}," in line:
            return "127.0.0.1:" + line.split()[3].rpartition(":")[2]
    return None
