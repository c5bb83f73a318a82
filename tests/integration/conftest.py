"""One hollow cluster for all tests of this folder that ask for it; its logs are shown on failure.

And a containerd for each module that plays its stories on one.
"""

from containerd_world import containerd as containerd
from containerd_world import play as play
from hollow_fixtures import hollow as hollow
from hollow_fixtures import kubectl as kubectl
from hollow_fixtures import namespace as namespace
from hollow_fixtures import pytest_runtest_makereport as pytest_runtest_makereport
