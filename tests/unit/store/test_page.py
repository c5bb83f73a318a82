"""The page that shows a store's revision to processes of the same machine."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherry.api.errors import ConfigError
from wherry.store.page import RevisionPage, RevisionView, page_beside, view_page


class Pair:
    """A page and a connection, both ends of which are this process's."""

    def __init__(self, directory: Path) -> None:
        self.path = page_beside(directory / "s.sock")
        self.page = RevisionPage(self.path)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(directory / "s.sock"))
            listening.listen()
            self.near = socket.socket(socket.AF_UNIX)
            self.near.connect(str(directory / "s.sock"))
            self.far, _ = listening.accept()

    def view(self) -> RevisionView | None:
        return view_page(self.path, self.near.fileno())

    def close(self) -> None:
        self.near.close()
        self.far.close()
        self.page.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    one = Pair(tmp_path)
    yield one
    one.close()


@pytest.fixture
def view(pair: Pair) -> Iterator[RevisionView]:
    found = pair.view()
    assert found is not None
    yield found
    found.close()


def test_what_is_published_is_seen(pair: Pair, view: RevisionView) -> None:
    assert view.revision() == 0
    for revision in (1, 7, 2**63, 0, 8):
        pair.page.publish(revision)
        assert view.revision() == revision


def test_a_connection_that_is_not_quiet_shows_nothing(pair: Pair, view: RevisionView) -> None:
    pair.page.publish(7)
    pair.far.sendall(b"x")
    assert view.revision() == 0
    pair.near.recv(1)
    assert view.revision() == 7
    pair.far.close()
    assert view.revision() == 0  # though the page still says 7: who wrote it may be dead


def test_a_view_has_its_own_hold_on_the_connection(pair: Pair, view: RevisionView) -> None:
    pair.page.publish(7)
    number = pair.near.fileno()
    left, right = socket.socketpair()
    pair.near.close()
    os.dup2(left.fileno(), number)  # a quiet one has the number of the one that was closed
    try:
        assert view.revision() == 7
        pair.far.close()
        assert view.revision() == 0
    finally:
        os.close(number)
        left.close()
        right.close()


def test_a_page_of_another_process_is_not_believed(pair: Pair) -> None:
    child = os.fork()
    if not child:  # pragma: no cover  # another process
        RevisionPage(pair.path).publish(9)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert pair.path.exists()
    assert pair.view() is None


def test_a_store_without_a_page_is_asked(pair: Pair) -> None:
    pair.path.unlink()
    assert pair.view() is None
    pair.path.write_bytes(b"")
    assert pair.view() is None


def test_a_page_closes_once_it_shows_nothing(tmp_path: Path) -> None:
    one = Pair(tmp_path)
    one.page.publish(7)
    view = one.view()
    assert view is not None
    assert one.path.stat().st_mode & 0o777 == 0o600
    one.page.close()
    assert (view.revision(), one.path.exists()) == (0, False)
    view.close()
    one.near.close()
    one.far.close()


def test_a_place_where_no_page_can_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot create .*/none/p: No such file or directory"):
        RevisionPage(tmp_path / "none" / "p")
