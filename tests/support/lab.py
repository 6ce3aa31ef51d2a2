"""A real JupyterLab in a real Chromium, Chrome or Edge, cut off from every network but its own loopback."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import browsers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    # Whatever a page would load from elsewhere fails: so each test here is a proof that nothing is.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]
START_S = 240
AGAIN_AFTER_MS = 45_000
EVIDENCE_CHARACTERS = 3000
IDLE = """() => {
  const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
  const waiting = [...document.querySelectorAll('.jp-InputArea-prompt')].some(node => node.textContent.includes('*'));
  return kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle' && !waiting;
}"""
CELL_OUTPUTS = """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
  .flatMap(cell => cell.toJSON().outputs ?? [])"""


def missing() -> str:
    """Why browser tests cannot run here, or ""."""
    for module in ("playwright", "jupyterlab", "ipywidgets", "anywidget"):
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed"
    return "" if browsers.find() else browsers.ABSENT


@dataclass(frozen=True)
class Server:
    """A running JupyterLab: its address, token, and the folder it serves."""

    address: str
    token: str
    root: Path
    has_file_browser: bool = False
    """Whether a notebook is opened in the whole JupyterLab, beside its file browser, and not on its own."""

    def url(self, notebook: str) -> str:
        """The address of a notebook."""
        where = "lab" if self.has_file_browser else "doc"
        return f"{self.address}/{where}/tree/{notebook}?token={self.token}&reset"

    def call(self, path: str, method: str = "GET", **body: Any) -> Any:
        """Asks the server's own interface."""
        content = json.dumps(body).encode() if body else None
        request = urllib.request.Request(
            f"{self.address}/api/{path}", content, {"Authorization": f"token {self.token}"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """A JupyterLab over `folder`/notebooks with settings of its own and a kernel "easel" that runs this checkout."""
    served = folder / "notebooks"
    served.mkdir(parents=True, exist_ok=True)
    _kernelspec(folder / "data")
    _quiet(folder / "settings")
    port, token = _free_port(), secrets.token_hex(16)
    places = {"CONFIG_DIR": "config", "DATA_DIR": "data", "RUNTIME_DIR": "runtime"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "EASEL"))}
    environment |= {f"JUPYTER_{name}": str(folder / place) for name, place in places.items()}
    environment |= {
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }
    environment |= {"IPYTHONDIR": str(folder / "ipython"), "JUPYTER_NO_CONFIG": "0"}
    # A set-up checkout has a kernel "easel" in its .venv too, and a virtual environment goes first unless told.
    environment |= {"JUPYTER_PREFER_ENV_PATH": "0"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root"]
    command += [
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={served}",
        "--LabApp.expose_app_in_browser=True",
    ]
    log = (folder / "server.log").open("wb")
    process = subprocess.Popen(command, env=environment, cwd=served, stdout=log, stderr=log, start_new_session=True)
    server = Server(f"http://127.0.0.1:{port}", token, served)
    try:
        _wait(server, process, folder / "server.log")
        yield server
    finally:
        _end(process)
        log.close()


def _kernelspec(data: Path) -> None:
    folder = data / "kernels" / "easel"
    folder.mkdir(parents=True)
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Easel",
        "language": "python",
        "env": {"PYTHONPATH": str(ROOT), "EASEL_ENGINE": "rehearsal"},
    }
    (folder / "kernel.json").write_text(json.dumps(spec))


def _quiet(settings: Path) -> None:
    folder = settings / "@jupyterlab" / "apputils-extension"
    folder.mkdir(parents=True)
    (folder / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"JupyterLab ended at once:\n{log.read_text(errors='replace')[-2000:]}")
        try:
            server.call("status")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"JupyterLab did not answer within {START_S} s:\n{log.read_text(errors='replace')[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(8)
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def evidence(browser: Any, server: Server | None) -> list[tuple[str, str]]:
    """(title, text) for a failed test's report: each open page's app and console, the end of the server's log."""
    from playwright.sync_api import Error as PlaywrightError

    found = []
    for page in (page for context in browser.contexts for page in context.pages):
        try:
            # Unlike an evaluation, this ends when the page hangs.
            text = page.locator(".easel, body").last.inner_text(timeout=5_000)
        except PlaywrightError as error:
            text = f"cannot be read: {error}"
        console = "\n".join(getattr(page, "easel_console", ()))
        found.append((f"page {page.url.partition('?')[0]}", text[:EVIDENCE_CHARACTERS]))
        found.append(("its console", console[-EVIDENCE_CHARACTERS:]))
    if server is not None:
        log = (server.root.parent / "server.log").read_text(errors="replace")
        found.append(("JupyterLab and its kernels", log[-EVIDENCE_CHARACTERS:]))
    return found


class Notebook:
    """A notebook open in a page, driven by JupyterLab's own commands."""

    def __init__(self, page: Any, server: Server, name: str) -> None:
        self.page, self.server, self.name = page, server, name

    def open(self) -> Notebook:
        """Opens the notebook and waits for its kernel, whose cells have not run.

        On a busy machine the kernel's first answer can be lost between JupyterLab and its server: the kernel's state stays
        "Unknown", in a notebook of any content. Then the page is loaded once more, as a person would do, with a warning.
        """
        self._load_until_shown(self._load, lambda: self.wait_idle(AGAIN_AFTER_MS), "its kernel in an unknown state")
        return self

    def reopen(self) -> Notebook:
        """Opens the notebook again, and waits for the app that its kernel still holds.

        A page that asks for all widgets and gets no answer within four seconds asks for each widget, and waits for ever when
        one answer is lost: "Loading widget..." stays. Then the page is loaded once more, as a person would do, with a warning.
        Source: @jupyter-widgets/base-manager 1.0, manager-base.ts, _loadFromKernel and _loadFromKernelModels.
        """
        shown = partial(self.page.wait_for_selector, ".easel", timeout=AGAIN_AFTER_MS)
        self._load_until_shown(self.open, shown, "its widgets loading")
        return self

    def _load(self) -> None:
        self.page.goto(self.server.url(self.name), wait_until="domcontentloaded")
        self.page.wait_for_function("() => window.jupyterapp && document.querySelector('.jp-Notebook .jp-Cell')")

    def _load_until_shown(self, load: Callable[[], object], wait: Callable[[], object], left: str) -> None:
        from playwright.sync_api import TimeoutError as NothingCame

        load()
        try:
            wait()
        except NothingCame:
            warnings.warn(f"JupyterLab left {left}: the page is loaded once more", stacklevel=3)
            load()
            wait()

    def wait_idle(self, timeout_ms: float | None = None) -> None:
        """Waits until the kernel has nothing to do, for at most `timeout_ms` or the page's own limit."""
        self.page.wait_for_function(IDLE, timeout=timeout_ms)

    def run(self) -> Notebook:
        """Runs all cells; fails with the cell's own error when one has one.

        JupyterLab may lose a request to a kernel that it has just connected to, and then waits for ever: the page is loaded once
        more, as a person would do, with a warning.
        """
        ran = partial(self.page.wait_for_function, "() => window.easelRan", timeout=AGAIN_AFTER_MS)
        pages = iter((self, None))

        def begin() -> None:
            (next(pages) or self.open())._run_cells()

        self._load_until_shown(begin, ran, "its cells waiting")
        self.wait_idle()
        for output in self.page.evaluate(CELL_OUTPUTS):
            if output["output_type"] == "error":
                raise AssertionError(f"the cell failed: {output['ename']}: {output['evalue']}")
        return self

    def _run_cells(self) -> None:
        self.page.evaluate(
            """() => {
              window.easelRan = false;
              window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.easelRan = true; });
            }"""
        )

    def restart_kernel(self) -> None:
        """Restarts the kernel without running anything."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
        self.wait_idle()

    def save(self) -> None:
        """Saves the notebook."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    def set_theme(self, name: str) -> None:
        """Changes JupyterLab's own theme."""
        self.page.evaluate("name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})", name)
        self.page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=name)
