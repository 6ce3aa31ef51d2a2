"""`easel` as a process of its own, with its output in files and its exit code.

To load Easel takes most of the time of a short command. So a command is forked from a process that has loaded what most commands
import, and nothing that reads the environment when it is loaded. The first call of each command, and one with another PYTHONPATH
or encoding, is a new Python: it shows that the command imports what it needs.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.checkout import ROOT

_LOADED = (
    *("click", "rich.console", "rich.table", "trainer_core.prepare.workbench", "trainer_core.training.run"),
    *("trainer_core.training.history", "trainer_core.models.detection", "trainer_core.models.library"),
    *("trainer_core.engines.registry", "trainer_core.profiles", "trainer_core.datasets.scan"),
)
_OF_PYTHON = ("PYTHON", "LANG", "LC_")
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([*_LOADED])
_called: set[str] = set()


def easel(
    *words: object, environment: Mapping[str, str], cwd: Path = ROOT, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """How `easel` ended with these words, and what it printed."""
    arguments = [*map(str, words)]
    if arguments[0] in _called and _of_python(environment) == _of_python(os.environ):
        return _forked(arguments, environment, cwd, timeout)
    _called.add(arguments[0])
    command = [sys.executable, "-m", "trainer_core.cli", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env={**environment}, cwd=cwd, check=False, timeout=timeout
    )


def _of_python(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that Python reads when it starts."""
    found = {name: value for name, value in environment.items() if name.startswith(_OF_PYTHON)}
    if found.get("PYTHONPATH") == str(ROOT):
        del found["PYTHONPATH"]
    return found


def _forked(
    words: list[str], environment: Mapping[str, str], cwd: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("out", "errors")]
        process = _CONTEXT.Process(target=_main, args=(words, {**environment}, str(cwd), [*map(str, files)]))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(words, timeout)
        out, errors = (file.read_text() for file in files)
        return subprocess.CompletedProcess(words, process.exitcode, out, errors)


def _main(words: list[str], environment: dict[str, str], cwd: str, files: list[str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.chdir(cwd)
    sys.argv = ["easel", *words]
    from trainer_core.cli import main

    main()
