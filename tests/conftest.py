"""What holds for all tests: how hypothesis tries things, and which tests never run beside each other."""

import re

import pytest
from hypothesis import HealthCheck, settings

# A slow or busy machine is no fault: nothing that hypothesis tries is held against a clock.
settings.register_profile("easel", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
# A run that decides over a change tries the same examples each time; anybody else's goes on searching.
settings.register_profile("same", settings.get_profile("easel"), derandomize=True, database=None)
settings.load_profile("easel")


TOGETHER = {
    "engines": "tests/backends/",
    "journey": "tests/browser/test_journey",
    "pages": "tests/browser/test_[a-s]",
    "more pages": "tests/browser/",
}
"""Tests that never run beside each other, in the order in which they begin: a training engine takes gigabytes of memory, a JupyterLab
is shared. The journey, which waits for an engine, has a JupyterLab of its own. All others stay together by file.
"""
LAST = "tests/browser/"
"""What comes last, when the machine has little else to do: a page that waits for its turn is no test of the page."""


def _together(nodeid: str) -> str:
    return next((name for name, start in TOGETHER.items() if re.match(start, nodeid)), nodeid.partition("::")[0])


def pytest_collection_modifyitems(items):
    order = list(TOGETHER)
    found = {item: _together(item.nodeid) for item in items}
    items.sort(key=lambda item: (LAST in item.nodeid, order.index(found[item]) if found[item] in order else len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With several workers (`-n`), each takes a file at a time, or all that is to stay together."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return _together(nodeid)

    return ByFile(config, log)
