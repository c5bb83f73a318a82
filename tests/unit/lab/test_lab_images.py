"""Images: trees laid over by packages, layers, the files of an OCI layout, tags."""

import gzip
import hashlib
import io
import tarfile

import orjson
import pytest

from lablib.images import oci
from lablib.images.debian import upstream
from lablib.images.recipes import RECIPES, pause_program
from lablib.images.rootfs import Rootfs


def package(*members: tuple[str, str, bytes]) -> bytes:
    """A package's file system: (kind, path, content or link target)."""
    kinds = {"dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE}
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for kind, path, content in members:
            info = tarfile.TarInfo(path)
            info.mtime = 12345
            info.mode = 0o755
            if kind == "file":
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = kinds[kind], content.decode()
                tar.addfile(info)
    return output.getvalue()


def listing(tar: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        return {member.name: member for member in opened}


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ("./bin/sh", "usr/bin/sh"),
        ("./lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6"),
        ("./lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2"),
        ("./usr/sbin/nginx", "usr/sbin/nginx"),
        ("./etc/nginx/mime.types", "etc/nginx/mime.types"),
    ],
)
def test_packages_land_in_a_merged_usr(given: str, where: str) -> None:
    tree = Rootfs()
    tree.unpack(package(("file", given, b"x")))
    assert tree.entries[where].data == b"x"


@pytest.mark.parametrize("path", ["./usr/share/doc/x/copyright", "./usr/share/man/man1/x.1.gz"])
def test_what_no_container_reads_is_left_out(path: str) -> None:
    tree = Rootfs()
    tree.unpack(package(("file", path, b"x")))
    assert not any(name.endswith(("copyright", "x.1.gz")) for name in tree.entries)


def test_links_survive_and_hard_links_become_copies() -> None:
    tree = Rootfs()
    tree.unpack(
        package(
            ("file", "./usr/bin/a", b"program"),
            ("link", "./usr/bin/b", b"a"),
            ("hard", "./usr/bin/c", b"./usr/bin/a"),
        )
    )
    packed = listing(tree.pack())
    assert packed["usr/bin/b"].issym()
    assert packed["usr/bin/b"].linkname == "a"
    assert tree.entries["usr/bin/c"].data == b"program"


def test_a_packed_tree_has_parents_first_and_no_trace_of_when_or_who() -> None:
    tree = Rootfs()
    tree.file("var/lib/x/y", "text")
    packed = listing(tree.pack())
    assert list(packed) == ["var", "var/lib", "var/lib/x", "var/lib/x/y"]
    assert {(m.mtime, m.uid, m.gid, m.uname) for m in packed.values()} == {(0, 0, 0, "")}
    assert tree.pack() == tree.pack()


def test_a_layout_holds_every_blob_under_its_digest() -> None:
    layer = oci.Layer.of(b"not really a tar")
    assert gzip.decompress(layer.data) == b"not really a tar"
    files = oci.layout({"1": oci.Image([layer], {"Cmd": ["a"]}), "2": oci.Image([layer])})
    for path, data in files.items():
        if path.startswith("blobs/sha256/"):
            assert path.removeprefix("blobs/sha256/") == hashlib.sha256(data).hexdigest()
    index = orjson.loads(files["index.json"])
    tags = [m["annotations"]["org.opencontainers.image.ref.name"] for m in index["manifests"]]
    assert tags == ["1", "2"]
    for described in index["manifests"]:
        manifest = orjson.loads(files[f"blobs/{described['digest'].replace(':', '/')}"])
        for blob in (manifest["config"], *manifest["layers"]):
            assert len(files[f"blobs/{blob['digest'].replace(':', '/')}"]) == blob["size"]
    # The layer is stored once, though two images have it.
    assert len([path for path in files if path.startswith("blobs/")]) == 5


@pytest.mark.parametrize(
    ("version", "want"),
    [
        ("1.22.1-9+deb12u10", "1.22.1"),
        ("1:1.35.0-4+deb12u1+b1", "1.35.0"),
        ("3.11.2-6+deb12u9", "3.11.2"),
        ("2.0~rc1-1", "2.0"),
    ],
)
def test_upstream_versions(version: str, want: str) -> None:
    assert upstream(version) == want


def test_tags_are_latest_and_every_prefix_of_the_version() -> None:
    versions = {
        "nginx": "1.22.1-9+deb12u10",
        "busybox-static": "1:1.35.0-4",
        "python3.11": "3.11.2-6",
    }
    tags = {recipe.repository: recipe.tags_for(versions) for recipe in RECIPES}
    assert tags["library/nginx"] == ("latest", "1", "1.22", "1.22.1")
    assert tags["library/python"] == ("latest", "3", "3.11", "3.11.2")
    assert tags["pause"] == ("3.9", "3.10", "latest")


def test_the_pause_program_is_a_tiny_static_elf() -> None:
    program = pause_program()
    assert program[:4] == b"\x7fELF"
    assert len(program) < 200
