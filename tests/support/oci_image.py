"""OCI images from nothing: files -> a layer -> an image archive that `ctr images import` takes."""

import gzip
import hashlib
import io
import json
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

APPLETS = [
    "sh",
    "ls",
    "cat",
    "echo",
    "sleep",
    "true",
    "false",
    "env",
    "id",
    "wget",
    "nc",
    "httpd",
    "ip",
    "ps",
    "tail",
    "head",
    "touch",
    "stat",
    "mkdir",
    "rm",
    "hostname",
    "printf",
    "kill",
    "date",
    "dd",
    "test",
    "sync",
    "readlink",
    "stty",
    "seq",
    "yes",
    "md5sum",
    "trap",
]


def pause_elf() -> bytes:
    """An x86-64 program of nine bytes: pause(2) for ever."""
    code = bytes.fromhex("b8220000000f05ebf7")
    base, header, program = 0x400000, 64, 56
    size = header + program + len(code)
    entry = base + header + program
    elf = b"\x7fELF\x02\x01\x01" + b"\0" * 9
    elf += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, header, 0, 0, header, program, 1, 0, 0, 0)
    return elf + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000) + code


def layer(
    files: Mapping[str, tuple[bytes, int]],
    links: Mapping[str, str] | None = None,
    directories: Sequence[str] = (),
) -> bytes:
    """A tar of files (content, mode), symbolic links and directories."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in directories:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        for name, (data, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return buffer.getvalue()


def write_image(path: Path, name: str, layers: Sequence[bytes], config: Mapping[str, Any]) -> None:
    """Write an OCI archive with one image, called `name`."""
    blobs: dict[str, bytes] = {}

    def blob(data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    kind = "application/vnd.oci.image"
    diff_ids = [f"sha256:{hashlib.sha256(raw).hexdigest()}" for raw in layers]
    packed = [blob(gzip.compress(raw, 1, mtime=0), f"{kind}.layer.v1.tar+gzip") for raw in layers]
    described = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    described_blob = blob(json.dumps(described).encode(), f"{kind}.config.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": described_blob,
        "layers": packed,
    }
    entry = blob(json.dumps(manifest).encode(), f"{kind}.manifest.v1+json")
    entry["annotations"] = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.rpartition(":")[2],
    }
    index = {"schemaVersion": 2, "manifests": [entry]}
    with tarfile.open(path, "w") as tar:
        parts = {
            "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
            "index.json": json.dumps(index).encode(),
            **{f"blobs/sha256/{digest}": data for digest, data in blobs.items()},
        }
        for part, data in parts.items():
            info = tarfile.TarInfo(part)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))


def write_pause(path: Path, name: str) -> None:
    write_image(path, name, [layer({"pause": (pause_elf(), 0o755)})], {"Entrypoint": ["/pause"]})


def write_busybox(path: Path, name: str) -> None:
    """An image with the machine's static busybox and its usual applets."""
    files = {
        "bin/busybox": (Path("/bin/busybox").read_bytes(), 0o755),
        "etc/passwd": (b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n", 0o644),
        "etc/group": (b"root:x:0:\nnogroup:x:65534:\n", 0o644),
    }
    links = {f"bin/{applet}": "busybox" for applet in APPLETS}
    raw = layer(files, links, ["bin", "etc", "tmp", "proc", "sys", "dev", "run"])
    config = {"Cmd": ["sh"], "Env": ["PATH=/bin", "FROM_IMAGE=yes"]}
    write_image(path, name, [raw], config)
