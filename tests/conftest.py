"""What holds for all tests: how hypothesis tries things, and which tests never run beside each other."""

import re
import zlib

import pytest
from hypothesis import HealthCheck, settings

# A slow or busy machine is no fault: nothing that hypothesis tries is held against a clock.
settings.register_profile("easel", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
# A run that decides over a change tries the same examples each time; anybody else's goes on searching.
settings.register_profile("same", settings.get_profile("easel"), derandomize=True, database=None)
settings.load_profile("easel")


TOGETHER = {
    ("engines", "from m on"): "tests/backends/test_real_[m-z]",
    ("engines", "others"): (
        "tests/backends/test_(real_|conversions|gpu|kohya_precision|model_forms|proofs|refusals_kohya|rendered_|trials)"
    ),
    ("journey", ""): "tests/browser/test_journey",
    ("pages", "to d"): "tests/browser/test_[a-d]",
    ("pages", "to k"): "tests/browser/test_[e-k]",
    ("pages", "to p"): "tests/browser/test_[l-p]",
    ("pages", "to s"): "tests/browser/test_[q-s]",
    ("more pages", "to v"): "tests/browser/test_[t-v]",
    ("more pages", "others"): "tests/browser/",
}
"""Tests that never run beside each other, in the order in which they begin: a training engine takes gigabytes of memory, a JupyterLab
is shared. The journey, which waits for an engine, has a JupyterLab of its own. All others stay together by file.

With few workers, which is on a small machine, all groups of the same first name are one.
"""
MANY = 6
"""So many workers are many: a group that is not divided would be at work when the others have nothing to do any more."""
LONG = tuple(
    f"tests/{name}.py"
    for name in (
        *("core/test_runpod_runs", "core/test_remote_runs", "core/test_ssh_runs"),
        *("core/test_ssh_installing", "core/test_cli", "core/test_resume", "ui/test_results", "core/test_proposals"),
        *("core/test_drills_supervision", "core/test_drills_places", "core/test_drills_queue", "core/test_run_results"),
    )
)
"""The files that take longest, which begin first: one that began late would keep a worker when the others have nothing to do."""
DIVIDED = LONG[:3]
"""The files whose tests wait for minutes in all: where there are many workers, several share them."""
PARTS = 3
LAST = "tests/browser/"
"""What comes last, when the machine has little else to do: a page that waits for its turn is no test of the page.

The journey, which takes as long as many files and waits for an engine most of that time, begins before the files of `MEANWHILE`.
"""
MEANWHILE = "tests/ui/"


def _together(nodeid: str) -> tuple[str, str]:
    file = nodeid.partition("::")[0]
    part = f"part {zlib.crc32(nodeid.encode()) % PARTS}" if file in DIVIDED else ""
    return next((name for name, start in TOGETHER.items() if re.match(start, nodeid)), (file, part))


def _turn(nodeid: str) -> tuple[int, int]:
    """Where a test comes: engines, long files, all others, the journey with the files meanwhile, pages."""
    together, file = _together(nodeid), nodeid.partition("::")[0]
    order = list(TOGETHER)
    if together[0] == "engines":
        return 0, order.index(together)
    if file in LONG:
        return 1, LONG.index(file)
    if together[0] == "journey":
        return 3, 0
    if file.startswith(MEANWHILE):
        return 4, 0
    return (5, order.index(together)) if file.startswith(LAST) else (2, 0)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: _turn(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With several workers (`-n`), each takes a file at a time, or all that is to stay together."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            name, part = _together(nodeid)
            return f"{name} {part}".strip() if self.numnodes >= MANY else name

    return ByFile(config, log)
