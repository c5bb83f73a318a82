"""The Vagrantfile cannot be booted in a test; what it says can be read.

A stand-in for Vagrant's configuration object records every call and runs every block.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(shutil.which("ruby") is None, reason="needs ruby")

STAND_IN = """\
require "json"
CALLS = []
class Recorder
  def initialize(path) = @path = path
  def method_missing(name, *args, **named, &block)
    CALLS << [[*@path, name].join("."), args, named]
    inner = name == :define ? Recorder.new([args.first]) : Recorder.new([*@path, name])
    block.call(inner) if block && name != :ruby
    inner
  end
  def respond_to_missing?(*) = true
end
module Vagrant
  def self.configure(_version) = yield(Recorder.new([]))
end
load ARGV.first
puts JSON.generate(CALLS)
"""


@pytest.fixture(scope="module")
def calls(
    tmp_path_factory: pytest.TempPathFactory,
) -> list[tuple[str, list[object], dict[str, object]]]:
    done = subprocess.run(
        ["ruby", "-w", "-e", STAND_IN, ROOT / "Vagrantfile"],
        cwd=tmp_path_factory.mktemp("vagrant"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Vagrantfile" not in done.stderr  # ruby's warnings
    return [(name, args, named) for name, args, named in json.loads(done.stdout)]


def test_two_hosts_with_addresses_of_their_own(
    calls: list[tuple[str, list[object], dict[str, object]]],
) -> None:
    networks = {name: named["ip"] for name, _, named in calls if name.endswith(".vm.network")}
    assert networks == {
        "master.vm.network": "192.168.56.11",
        "node.vm.network": "192.168.56.12",
    }


def test_every_script_it_runs_exists_and_gets_the_settings_it_reads(
    calls: list[tuple[str, list[object], dict[str, object]]],
) -> None:
    common = (ROOT / "scripts/provision/common.sh").read_text()
    shells = [n for name, args, n in calls if name.endswith("vm.provision") and args == ["shell"]]
    assert len(shells) == 2
    for shell in shells:
        match = re.fullmatch(r"bash /opt/wherry/(\S+)", str(shell["inline"]))
        assert match is not None
        text = (ROOT / match[1]).read_text()
        assert isinstance(shell["env"], dict)
        for setting in shell["env"]:
            assert setting in text + common, setting


def test_the_scripts_are_bash() -> None:
    for script in (ROOT / "scripts/provision").glob("*.sh"):
        subprocess.run(["bash", "-n", script], check=True)
