"""Runs inside a pod, on its own: asks the Service and resolves its name, over and over.

Usage: python3 - ADDRESS NAME. Each second it prints one JSON line:

    {"second": 1700000000, "http": [ok, failed], "dns": [ok, failed], "errors": ["..."]}

A request is a new connection and fails after 2 s; a name that takes longer than 1 s has
failed, whatever the resolver found by asking again.
"""

import json
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable

INTERVAL_S = 0.05
HTTP_TIMEOUT_S = 2.0
DNS_LIMIT_S = 1.0

lock = threading.Lock()
counts: dict[str, list[int]] = {"http": [0, 0], "dns": [0, 0]}
errors: list[str] = []


def ask_service() -> None:
    """One request to the Service."""
    url = f"http://{sys.argv[1]}/"
    with urllib.request.urlopen(url, timeout=HTTP_TIMEOUT_S) as answer:
        answer.read()


def resolve() -> None:
    """One question for the Service's name."""
    began = time.perf_counter()
    found = socket.gethostbyname(sys.argv[2])
    took = time.perf_counter() - began
    if found != sys.argv[1]:
        raise OSError(f"{sys.argv[2]} is {found}")
    if took > DNS_LIMIT_S:
        raise OSError(f"{sys.argv[2]} took {took:.1f} s")


def repeat(kind: str, once: Callable[[], None]) -> None:
    """Do it for ever and count."""
    while True:
        began = time.perf_counter()
        try:
            once()
            failed = None
        except (OSError, ValueError) as error:
            failed = f"{kind}: {error}"
        with lock:
            counts[kind][failed is not None] += 1
            if failed and len(errors) < 5:
                errors.append(failed)
        time.sleep(max(0.0, INTERVAL_S - (time.perf_counter() - began)))


def report() -> None:
    """Print the last second's counts, for ever."""
    while True:
        time.sleep(1)
        with lock:
            line = {"second": int(time.time()), **counts, "errors": list(errors)}  # noqa: TID251
            text = json.dumps(line)
            for kind in counts:
                counts[kind] = [0, 0]
            errors.clear()
        print(text, flush=True)


if __name__ == "__main__":
    for kind, once in (("http", ask_service), ("dns", resolve)):
        threading.Thread(target=repeat, args=(kind, once), daemon=True).start()
    report()
