"""An engine on a machine that ssh reaches: whether it is installed, and its installation as a job there, whose log is shown."""

from __future__ import annotations

import time
from collections.abc import Callable

from trainer_core import __version__
from trainer_core.errors import JobError
from trainer_core.jobs.hosts.machine import Machine
from trainer_core.jobs.hosts.questions import Questions
from trainer_core.jobs.hosts.ssh_failure import MachineError
from trainer_core.remote.machines import engine_sources, installing
from trainer_core.remote.machines.answering import MODULE
from trainer_core.text import printable

Say = Callable[[str], None]

LIMIT_S = 120.0
POLL_S = 2.0
PATIENCE_S = 120.0
"""For so long a connection that was cut is tried again."""
_LONGEST = 300


def is_ready(questions: Questions, engine: str) -> bool:
    """Whether the engine can be started on the machine.

    Raises:
        MachineError: the machine cannot be reached.
        JobError: its Easel knows no such engine.
    """
    return questions.ask({"do": "engine", "engine": engine})[0].get("is_ready") is True


def install(machine: Machine, engine: str, say: Say, accelerator: str = "auto", source: str = "") -> None:
    """Installs an engine as a job there, or follows one that runs. The job goes on if this is cut; calling again follows it.

    `source` is where its source code comes from instead: a folder or archive of this machine, or an address.

    Raises:
        InstallError: the source does not have the pinned commit.
        MachineError: the machine cannot be reached any more.
        JobError: it was not installed; the message has the reason that the machine gives.
    """
    questions = Questions(machine, LIMIT_S, MODULE)
    try:
        if is_ready(questions, engine):
            say(f"The engine {engine} is installed on {machine}.")
            return
        about = engine_sources.brought(machine, engine, source, say) if source else {}
        answer, _ = questions.ask({"do": "install", "engine": engine, "accelerator": accelerator, **about})
        name = str(answer.get("job", ""))
        say(f"Installing the engine {engine} on {machine}, as the job {printable(name, 100)} there.")
        _follow(machine, questions, name, engine, say)
    finally:
        questions.close()


def bring(machine: Machine, engine: str, say: Say) -> None:
    """Installs an engine as `install` does, after Easel itself if the machine has none or another version.

    Raises:
        MachineError: the machine cannot be reached any more.
        JobError: Easel or the engine was not installed; the message has the reason.
    """
    try:
        version = installing.version_there(machine)
    except MachineError as error:
        if error.kind != "version":
            raise
        version = ""
    if version != __version__:
        installing.install(machine, say)
    install(machine, engine, say)


def _follow(machine: Machine, questions: Questions, name: str, engine: str, say: Say) -> None:
    offset, rest, heard = 0, b"", time.monotonic()
    while True:
        try:
            answer, found = questions.ask({"do": "job", "job": name, "offset": offset})
        except MachineError as error:
            if error.kind not in ("cut", "slow", "refused", "unreachable") or time.monotonic() - heard > PATIENCE_S:
                raise
            time.sleep(POLL_S)
            continue
        heard = time.monotonic()
        offset += len(found)
        *lines, rest = (rest + found).split(b"\n")
        for line in lines:
            if text := printable(line.decode("utf-8", "replace").rstrip(), _LONGEST):
                say(f"  {text}")
        if answer.get("is_final") is True and not found:
            break
        if not found:
            time.sleep(POLL_S)
    if answer.get("state") != "completed":
        told = printable(str(answer.get("told", "")), 1000) or "Its log has the reason."
        raise JobError(f"The engine {engine} was not installed on {machine}. {told}", "Correct this and run it again.")
    say(f"The engine {engine} is installed on {machine}.")
