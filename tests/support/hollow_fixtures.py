"""Fixtures of the tests that share one hollow cluster: a conftest imports them by name."""

import secrets
from collections.abc import Generator, Iterator

import pytest
from hollow_cluster import HollowCluster, hollow_cluster
from kubectl_session import Session, label, session
from kubectl_transcript import Version

_CLUSTER = pytest.StashKey[HollowCluster]()


@pytest.fixture(scope="session")
def hollow(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HollowCluster]:
    """`wherry up --runtime hollow`, running."""
    with hollow_cluster(tmp_path_factory.mktemp("hollow")) as cluster:
        request.config.stash[_CLUSTER] = cluster
        yield cluster


@pytest.fixture
def namespace(hollow: HollowCluster) -> Iterator[str]:
    """The name of a namespace of the test's own, which goes in the end."""
    name = f"t-{secrets.token_hex(3)}"
    body = {"metadata": {"name": name}}
    status, answer = hollow.ask("/api/v1/namespaces", method="POST", body=body)
    assert status == 201, answer
    yield name
    hollow.ask(f"/api/v1/namespaces/{name}", method="DELETE")


@pytest.fixture
def kubectl(
    build: Version, hollow: HollowCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Session]:
    """One build in a namespace of its own; its home, and so its caches, last for the session."""
    home = tmp_path_factory.getbasetemp() / f"home-{label(build)}"
    home.mkdir(exist_ok=True)
    with session(build, hollow, home) as found:
        yield found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    cluster = item.config.stash.get(_CLUSTER, None)
    if report.failed and cluster is not None and "hollow" in getattr(item, "fixturenames", ()):
        for name, tail in cluster.logs().items():
            report.sections.append((f"the end of {name}", tail))
    return report
