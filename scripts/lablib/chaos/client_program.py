"""Runs inside a pod, on its own: asks the Service and resolves its name, over and over.

Usage: python3 - ADDRESS NAME. Each second it prints what ended since, a JSON line for each
second in which any of that began:

    {"second": 1700000000, "http": [ok, failed], "dns": [ok, failed], "errors": ["..."]}

So a request that hung is counted when it was sent, not when it was given up. A request is a new
connection and fails after 2 s; a name that takes longer than 1 s has failed, whatever the
resolver found by asking again.
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
counts: dict[int, dict[str, list[int]]] = {}  # by the second in which it began
errors: dict[int, list[str]] = {}


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
        second = int(time.time())  # noqa: TID251
        try:
            once()
            failed = None
        except (OSError, ValueError) as error:
            failed = f"{kind}: {error}"
        with lock:
            counted = counts.setdefault(second, {"http": [0, 0], "dns": [0, 0]})
            counted[kind][failed is not None] += 1
            told = errors.setdefault(second, [])
            if failed and len(told) < 5:
                told.append(failed)
        time.sleep(max(0.0, INTERVAL_S - (time.perf_counter() - began)))


def report() -> None:
    """Print what was counted, each second, for ever."""
    while True:
        time.sleep(1)
        with lock:
            lines = [
                json.dumps({"second": second, **counted, "errors": errors[second]})
                for second, counted in sorted(counts.items())
            ]
            counts.clear()
            errors.clear()
        print(*lines, sep="\n", flush=True)


if __name__ == "__main__":
    for kind, once in (("http", ask_service), ("dns", resolve)):
        threading.Thread(target=repeat, args=(kind, once), daemon=True).start()
    report()
