"""schemathesis against our own OpenAPI documents: no 500, and answers as they are documented.

A minute of what `scripts/soak openapi` does for an hour: all reads of the v2 document, and of the
v3 documents some of every form of write. Our own generator (`test_apiserver_openapi.py`) asks the
rest, by objects that are nearly right.
"""

import re
import subprocess
from collections.abc import Iterator

import pytest
from apiserver_victim import Victim, victim_in
from schemathesis_run import STREAMS, Schemathesis

pytestmark = pytest.mark.integration
COVERAGE = ("--phases", "coverage")
WRITES = ("--exclude-method", "GET")
ACTS = ("--include-path-regex", "/(bindings?|eviction|token|scale|finalize|configmaps/[{]name[}])$")
"""What is done to core objects, rather than stored; and one that is stored, of the shortest schema."""


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    with victim_in(tmp_path_factory.mktemp("server")) as one:
        yield one


@pytest.fixture(scope="module")
def asker(victim: Victim, tmp_path_factory: pytest.TempPathFactory) -> Schemathesis:
    return Schemathesis(victim, tmp_path_factory.mktemp("schemathesis"))


def judge(done: subprocess.CompletedProcess[str], at_least: int) -> None:
    """It found nothing, and not because it asked nothing."""
    assert done.returncode == 0, done.stdout[-8000:]
    asked = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert asked is not None, done.stdout
    assert int(asked[1]) == int(asked[2]) >= at_least, done.stdout


@pytest.mark.parametrize(
    ("document", "options", "at_least"),
    [
        ("/openapi/v2", (*COVERAGE, *STREAMS, "--include-method", "GET"), 5000),
        ("/openapi/v3/api/v1", (*COVERAGE, *WRITES, *ACTS), 500),
        ("/openapi/v3/apis/apps/v1", (*COVERAGE, *WRITES, *ACTS), 500),
        ("/openapi/v3/apis/autoscaling/v1", COVERAGE, 1000),
        ("/openapi/v3/apis/coordination.k8s.io/v1", ("--phases", "fuzzing", "-n", "30"), 200),
    ],
    ids=["v2-reads", "acts", "scales", "autoscaling", "fuzzing"],
)
def test_no_answer_is_a_failure_of_ours(
    asker: Schemathesis, document: str, options: tuple[str, ...], at_least: int
) -> None:
    judge(asker.run(document, *options), at_least)
