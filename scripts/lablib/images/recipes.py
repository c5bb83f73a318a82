"""The lab's images: what is in them and how they behave. Pure.

They behave like the well-known ones of the same names: nginx listens on port 80, serves
/usr/share/nginx/html and logs to its output; python starts an interpreter; busybox a shell.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lablib.images.debian import upstream
from lablib.images.rootfs import Rootfs

PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_USERS: Final = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nginx:x:101:101:nginx:/nonexistent:/bin/false
nobody:x:65534:65534:nobody:/:/bin/false
"""
_GROUPS: Final = """\
root:x:0:
daemon:x:1:
adm:x:4:
tty:x:5:
www-data:x:33:
nginx:x:101:
nogroup:x:65534:
"""

_NGINX_CONF: Final = """\
user nginx;
worker_processes auto;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log notice;

events {
    worker_connections 1024;
}

http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log /var/log/nginx/access.log;
    sendfile on;
    keepalive_timeout 65;
    include /etc/nginx/conf.d/*.conf;
}
"""
_NGINX_SITE: Final = """\
server {
    listen 80;
    server_name localhost;

    location / {
        root /usr/share/nginx/html;
        index index.html index.htm;
    }
}
"""
_RUN_ARGUMENTS: Final = '#!/bin/sh\nexec "$@"\n'


@dataclass(frozen=True, slots=True)
class Recipe:
    """One repository of the registry.

    Attributes:
        repository: Its name there; docker.io's own images are below library/.
        packages: The Debian packages of its layer, dependencies included.
        base: Whether the layer with libc, a shell and busybox lies below.
        version_of: The package whose upstream version gives the tags.
        finish: What is done to the tree after the packages are unpacked.
        config: The image configuration.
        tags: Fixed tags; None takes latest and every prefix of the version.
    """

    repository: str
    packages: tuple[str, ...]
    version_of: str
    finish: Callable[[Rootfs], None]
    config: Mapping[str, Any]
    base: bool = True
    tags: tuple[str, ...] | None = None

    def tags_for(self, versions: Mapping[str, str]) -> tuple[str, ...]:
        """Its tags: 1.22.1 gives latest, 1, 1.22 and 1.22.1."""
        if self.tags is not None:
            return self.tags
        parts = upstream(versions[self.version_of]).split(".")
        return ("latest", *(".".join(parts[: n + 1]) for n in range(len(parts))))


BASE: Final = (
    "base-files",
    "libc6",
    "libgcc-s1",
    "libcrypt1",
    "libtinfo6",
    "bash",
    "busybox-static",
)


def finish_base(tree: Rootfs) -> None:
    """The base layer: merged /usr, users, busybox's commands."""
    for name in ("bin", "lib", "lib64", "sbin"):
        tree.directory(f"usr/{name}")
        tree.link(name, f"usr/{name}")
    for name in ("dev", "proc", "sys", "root", "home", "mnt", "opt", "run", "srv", "usr/local/bin"):
        tree.directory(name)
    tree.directory("tmp", 0o1777)
    tree.directory("var/tmp", 0o1777)
    tree.link("var/run", "/run")
    tree.file("etc/passwd", _USERS)
    tree.file("etc/group", _GROUPS)
    tree.file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")


def busybox_commands(tree: Rootfs, applets: tuple[str, ...]) -> None:
    """A link for every command of busybox that no package has brought."""
    for applet in applets:
        for directory in ("usr/bin", "usr/sbin"):
            if f"{directory}/{applet}" in tree.entries:
                break
        else:
            tree.link(f"usr/bin/{applet}", "busybox")


def _finish_nginx(tree: Rootfs) -> None:
    tree.file("etc/nginx/nginx.conf", _NGINX_CONF)
    tree.file("etc/nginx/conf.d/default.conf", _NGINX_SITE)
    tree.file("docker-entrypoint.sh", _RUN_ARGUMENTS, 0o755)
    tree.directory("var/lib/nginx")
    tree.directory("var/log/nginx")
    tree.link("var/log/nginx/access.log", "/dev/stdout")
    tree.link("var/log/nginx/error.log", "/dev/stderr")


def _finish_python(tree: Rootfs) -> None:
    for name in ("python3.11", "python3", "python"):
        tree.link(f"usr/local/bin/{name}", "/usr/bin/python3.11")


def _finish_busybox(tree: Rootfs) -> None:
    finish_base(tree)


def _finish_pause(tree: Rootfs) -> None:
    tree.file("pause", pause_program(), 0o755)


def pause_program() -> bytes:
    """A static ELF program for x86_64 that waits for ever: what holds a pod's namespaces."""
    # start: mov eax, 34 (pause); syscall; jmp start
    code = bytes.fromhex("b822000000 0f05 ebf7".replace(" ", ""))
    base, header, program = 0x400000, 64, 56
    entry, size = base + header + program, header + program + len(code)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, header, 0, 0, header, program, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return ident + elf + segment + code


RECIPES: Final = (
    Recipe(
        repository="pause",
        packages=(),
        version_of="",
        finish=_finish_pause,
        config={"Entrypoint": ["/pause"]},
        base=False,
        tags=("3.9", "3.10", "latest"),
    ),
    Recipe(
        repository="library/busybox",
        packages=("busybox-static",),
        version_of="busybox-static",
        finish=_finish_busybox,
        config={"Cmd": ["sh"], "Env": [PATH]},
        base=False,
    ),
    Recipe(
        repository="library/nginx",
        packages=("libpcre2-8-0", "libssl3", "zlib1g", "nginx-common", "nginx"),
        version_of="nginx",
        finish=_finish_nginx,
        config={
            "Entrypoint": ["/docker-entrypoint.sh"],
            "Cmd": ["nginx", "-g", "daemon off;"],
            "Env": [PATH],
            "ExposedPorts": {"80/tcp": {}},
            "StopSignal": "SIGQUIT",
        },
    ),
    Recipe(
        repository="library/python",
        packages=(
            "zlib1g",
            "libexpat1",
            "libssl3",
            "libffi8",
            "libbz2-1.0",
            "liblzma5",
            "libsqlite3-0",
            "libuuid1",
            "libncursesw6",
            "libreadline8",
            "readline-common",
            "media-types",
            "libpython3.11-minimal",
            "libpython3.11-stdlib",
            "python3.11-minimal",
            "python3.11",
        ),
        version_of="python3.11",
        finish=_finish_python,
        config={"Cmd": ["python3"], "Env": [PATH, "LANG=C.UTF-8"]},
    ),
)
