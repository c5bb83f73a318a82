"""One hollow cluster for all tests of this folder that ask for it; its logs are shown on failure."""

from hollow_fixtures import hollow as hollow
from hollow_fixtures import kubectl as kubectl
from hollow_fixtures import namespace as namespace
from hollow_fixtures import pytest_runtest_makereport as pytest_runtest_makereport
from python_clients import leave_nothing_to_the_next_test as leave_nothing_to_the_next_test
from python_clients import official as official
