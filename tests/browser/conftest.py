"""One JupyterLab and one Chromium for all tests; each test has its own page, home and kernel.

The time limits are long, so that a slow or busy machine is no failure.
"""

from dataclasses import replace

import pytest

from tests.support import axe, browsers, lab
from tests.support import shipped as shipped_notebook
from trainer_core import places
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.training.run import list_runs

WAIT_MS = 90_000


def pytest_collection_modifyitems(items):
    reason = lab.missing()
    for item in items:
        if "tests/browser/" in item.nodeid:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(900))
            if reason:
                item.add_marker(pytest.mark.skip(reason=f"no browser tests: {reason}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds to a failure what was on the pages and in the logs of the server, because it may not happen again."""
    report = yield
    if report.failed and call.when == "call" and "chromium" in item.funcargs:
        report.sections += lab.evidence(item.funcargs["chromium"], item.funcargs.get("server"))
    return report


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    with lab.serve(folder) as running:
        yield running


@pytest.fixture(scope="session")
def chromium():
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browsers.find(), args=lab.CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home for this test; runs that have not ended at the end of the test are stopped."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    yield tmp_path / "easel"
    for run in list_runs(places.runs()):
        if run.state not in FINAL_STATES:
            run.stop(grace_s=1)


@pytest.fixture
def new_page(chromium):
    """Opens pages; the test fails when Easel's JavaScript raises an error or anything requests another host."""
    contexts, errors, asked = [], [], set()

    def open_one():
        context = chromium.new_context(viewport={"width": 1360, "height": 900})
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        page = context.new_page()
        page.easel_console = []
        page.on("console", lambda said: page.easel_console.append(f"{said.type}: {said.text}"))
        # Modules of widgets run from a blob; errors of JupyterLab itself are not Easel's.
        page.on("pageerror", lambda error: errors.append(str(error)) if "blob:" in (error.stack or "") else None)
        page.on("request", lambda request: asked.add(request.url.split("/")[2] if "//" in request.url else ""))
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not errors
    assert {host.partition(":")[0] for host in asked} <= {"127.0.0.1", ""}


@pytest.fixture
def page(new_page):
    return new_page()


@pytest.fixture
def with_axe(page):
    """Loads axe-core into the page when the app is there; until then motion is reduced already."""
    page.emulate_media(reduced_motion="reduce")
    return lambda: axe.load(page)


@pytest.fixture
def notebook(server, page, home, request):
    """Opens the shipped notebook, or one whose cell shows the app with initial values."""
    opened = []

    def open_one(settings=None, profile="", to=page, beside_files=False, shipped="LoRA_Trainer", **environment):
        name = f"{request.node.name.partition('[')[0]}{len(opened)}.ipynb"
        # Each test has a home of its own.
        shipped_notebook.write(server, name, environment | {"EASEL_HOME": str(home)}, settings, profile, shipped)
        found = lab.Notebook(to, replace(server, has_file_browser=beside_files), name)
        opened.append(found)
        return found.open()

    yield open_one
    for session in server.call("sessions"):
        server.call(f"sessions/{session['id']}", "DELETE")
