"""Refuses to change an engine while a run needs it: one that runs, or one that waits in the queue.

`trainer_core.jobs` finds these runs, with packages that are in Easel's environment. The installer has only the standard library,
so it asks the Python of that environment. Where there is none, no run can have been started.
"""

from __future__ import annotations

import json
import subprocess
import sys

from trainer_core import places
from trainer_core.errors import InstallError

ASK = "from trainer_core.install.in_use import main; main()"
_LIMIT_S = 60
_NAMED = 5


def refuse_if_used(engine: str = "", title: str = "") -> None:
    """Checks that no run needs this engine now; with "", that no run or other job runs or waits at all.

    Raises:
        InstallError: one does; the message names it.
    """
    found = users(engine)
    if not found:
        return
    named = ", ".join(found[:_NAMED]) + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
    raise InstallError(
        f"{(title or engine) if engine else 'Easel'} is in use. These jobs run or wait in the queue: {named}.",
        "Wait for their end, or stop them: easel runs stop NAME, or easel runs queue cancel NAME for one that waits.",
    )


def users(engine: str = "") -> list[str]:
    """The names of the jobs that run or wait and need this engine; with "" of all that run or wait."""
    try:
        from trainer_core.jobs.queueing.occupancy import engine_users
    except ImportError:
        return _asked(engine)
    return [job.name for job in engine_users(engine)]


def _asked(engine: str) -> list[str]:
    """The same, from the Python of Easel's environment.

    Raises:
        InstallError: it does not answer.
    """
    from trainer_core.child import child_environment
    from trainer_core.install.suite import PYTHON

    if not PYTHON.exists() or not (places.is_folder(places.runs()) or places.is_folder(places.jobs())):
        return []
    environment = child_environment({"PYTHONPATH": str(places.CHECKOUT)})
    try:
        answer = subprocess.run(
            [str(PYTHON), "-c", ASK, engine],
            capture_output=True,
            text=True,
            env=environment,
            cwd=places.CHECKOUT,
            timeout=_LIMIT_S,
            check=True,
        )
        return [str(name) for name in json.loads(answer.stdout)]
    except (OSError, subprocess.SubprocessError, ValueError, TypeError) as error:
        if _is_damaged(error):
            # A damaged environment must remain removable.
            return []
        raise InstallError(
            f"Easel could not find out whether runs need this: {type(error).__name__}.",
            f"Set up Easel again ({places.command()}), then repeat this.",
        ) from error


def _is_damaged(error: Exception) -> bool:
    return isinstance(error, subprocess.CalledProcessError) and "ModuleNotFoundError" in (error.stderr or "")


def main() -> None:
    """Prints the names of the jobs that need the engine named by the first argument, as JSON."""
    # Not `users`, which would ask this Python again if a package is missing.
    from trainer_core.jobs.queueing.occupancy import engine_users

    print(json.dumps([job.name for job in engine_users(sys.argv[1])]))
