"""The table of kubectl commands: every command with all that it prints, for every build.

A file of `kubectl/` is a story: its commands are typed one after the other in a namespace of their
own, with the files of `manifests/` beside them. `kubectl_transcript` says how to read a story.
"""

from pathlib import Path

import pytest
from hollow_cluster import HollowCluster
from kubectl_files import lay_out
from kubectl_session import Session, every_build, label

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent
STORIES = sorted((HERE / "kubectl").glob("*.txt"))
MANIFESTS = HERE / "manifests"


@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.stem)
@every_build
def test_the_table(kubectl: Session, hollow: HollowCluster, story: Path, tmp_path: Path) -> None:
    lay_out(MANIFESTS, tmp_path, kubectl.namespace)
    _, nodes = hollow.ask("/api/v1/nodes")
    kubectl.play_exactly(
        story.read_text(),
        directory=tmp_path,
        node=nodes["items"][-1]["metadata"]["name"],
        server=hollow.server,
        build=label(kubectl.build),
        program=kubectl.program.name,
    )


def test_the_table_is_large() -> None:
    """About 130 commands were asked for; what is left out by mistake would not fail."""
    commands = [
        line for story in STORIES for line in story.read_text().splitlines() if line[:2] == "$ "
    ]
    assert len(commands) > 900
    assert len(STORIES) == 22
