"""One lab for all tests of this folder: 3 masters, 2 nodes, the demo deployed."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from lab_cluster import Lab, running_lab


@dataclass(frozen=True)
class Cluster:
    """The shared lab and what its `up` printed."""

    lab: Lab
    printed: str


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with running_lab("--masters", "3", "--nodes", "2") as (lab, printed):
        yield Cluster(lab, printed)


@pytest.fixture(scope="session")
def lab(cluster: Cluster) -> Lab:
    return cluster.lab
