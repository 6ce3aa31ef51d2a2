"""A plan as a task of SkyPilot.

Source: SkyPilot 0.14.1, sky/utils/schemas.py and sky/task.py: variables of the task are replaced in the paths of `file_mounts`; a
secret without a value gets it from `sky launch --secret NAME`. sky/utils/command_runner.py: rsync leaves out what a `.gitignore`
in a folder names, and brings links as links.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from trainer_core.errors import RemoteError
from trainer_core.remote.export.scripts import SETUP, TRAIN, there
from trainer_core.remote.export.task import FILES, RESULTS, Exported, Mount, Resources, Task
from trainer_core.remote.export.writing import below, yaml_text
from trainer_core.text import printable


class SkyPilot:
    """The exporter."""

    title = "SkyPilot"
    main = "task.yaml"
    is_one_file = True
    most_plans = 1

    def export(self, tasks: Sequence[Task], folder: Path, main: str) -> Exported:
        """The YAML file of the task, and the folder with the plan and the scripts beside it.

        Raises:
            RemoteError: a path cannot be given to SkyPilot as it is.
        """
        task = tasks[0]
        upload = PurePosixPath(f"{main.partition('.')[0]}-upload.sh")
        beside = PurePosixPath(f"{main.partition('.')[0]}-{FILES}")
        for mount in task.mounts:
            _check(mount)
        _check_path(folder)
        home = f"~/{task.name}"
        mounts = {f"{home}/{each.target}": str(each.source) for each in task.mounts}
        tables: dict[str, Any] = {"name": task.name, "resources": _resources(task.resources)}
        tables["file_mounts"] = {f"{home}/{FILES}": str(folder / beside), **mounts}
        if task.secrets:
            tables["secrets"] = dict.fromkeys(task.secrets)
        tables["setup"] = f"bash {home}/{there(SETUP)}"
        tables["run"] = f"bash {home}/{there(TRAIN)}"
        passed = [f"--secret {name}" for name in task.secrets] + [f"--env {name}" for name in task.settings]
        launch = " ".join(["sky", "launch", "-c", task.name, *passed, shlex.quote(str(folder / main))])
        fetch = f"rsync -Pavz {task.name}:{task.name}/{RESULTS}/ {RESULTS}/"
        commands = [f"bash {shlex.quote(str(folder / upload))}"] if task.upload else []
        commands += [launch, *([] if task.bucket else [fetch]), f"sky down {task.name}"]
        comments = (f"{task.title}: a task for SkyPilot, made by Easel.", task.one_machine, "Start it with:", launch)
        files = {PurePosixPath(main): yaml_text(comments, tables), **below(beside, task.files)}
        if task.upload:
            files[upload] = task.upload.encode()
        return Exported(PurePosixPath(main), files, commands=tuple(commands), notes=_notes(task))


def _resources(needed: Resources) -> dict[str, Any]:
    """Any one of the GPUs that fit, with at least so much memory and so large a disk."""
    found: dict[str, Any] = {"memory": f"{needed.ram_gib}+", "disk_size": needed.disk_gib}
    if needed.gpus:
        return {"accelerators": {gpu.skypilot: needed.gpu_count for gpu in needed.gpus if gpu.skypilot}, **found}
    return {"cpus": "4+", **found}


def _check(mount: Mount) -> None:
    shown = printable(str(mount.source), 200)
    _check_path(mount.source)
    if mount.links:
        message = f"{shown} contains links, which SkyPilot brings to the machine as links that lead nowhere."
        hint = (
            "Copy the folder first, for a dataset with: easel dataset export. A model can be fetched with --model-from."
        )
        raise RemoteError(message, hint, "content")
    if mount.has_ignore_file:
        message = f"{shown} contains a file such as .gitignore, so SkyPilot may leave files out."
        raise RemoteError(message, "Remove that file, or copy the folder without it.", "content")


def _check_path(path: Path) -> None:
    if "$" in str(path):
        message = f"{printable(str(path), 200)} contains a dollar sign, and SkyPilot replaces variables in paths."
        raise RemoteError(message, "Rename it, or use a bucket with --bucket.", "address")


def _notes(task: Task) -> tuple[str, ...]:
    where = task.bucket + RESULTS + "/" if task.bucket else f"~/{task.name}/{RESULTS} on the machine"
    stop = f"`sky cancel` was not tried: if the GPU stays busy after it, end the machine with `sky down {task.name}`."
    return (f"The results will be in {where}. The machine costs money until `sky down`.", stop, *task.notes)


exporter = SkyPilot()
