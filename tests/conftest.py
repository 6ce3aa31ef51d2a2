"""What holds for all tests: how hypothesis tries things, and which tests never run beside each other."""

import pytest
from hypothesis import HealthCheck, settings

# A slow or busy machine is no fault: nothing that hypothesis tries is held against a clock.
settings.register_profile("easel", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
# A run that decides over a change tries the same examples each time; anybody else's goes on searching.
settings.register_profile("same", settings.get_profile("easel"), derandomize=True, database=None)
settings.load_profile("easel")


ALONE = ("tests/backends/", "tests/browser/test_journey.py", "tests/browser/")
"""Tests that never run beside each other: a training engine takes gigabytes of memory, a JupyterLab is shared.

The journey, which is the longest test and waits for an engine, has a JupyterLab of its own.
"""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With several workers (`-n`), each takes a file at a time, or all of a folder that is to stay together."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            folder = next((folder for folder in ALONE if nodeid.startswith(folder)), "")
            return folder or nodeid.partition("::")[0]

    return ByFile(config, log)
