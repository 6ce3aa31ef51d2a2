"""A plan as a task of dstack. Files and results go through a bucket.

Source: dstack 0.22.5, core/models/configurations.py, resources.py and files.py; server/settings.py: the server takes at most 2 MB for
each entry of `files` unless it was set up otherwise. cli/services/configurators/run.py: `${{ }}` is replaced in commands. The disk of a
task ends with the task.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from trainer_core.errors import RemoteError
from trainer_core.remote.export.scripts import SETUP, TRAIN, there
from trainer_core.remote.export.task import FILES, RESULTS, Exported, Resources, Task
from trainer_core.remote.export.writing import below, yaml_text

LIMIT_BYTES = 2 * 2**20
TAR_BLOCK = 512
"""A tar file has one such block for each file, and fills the last one of each."""
PYTHON = "3.12"


class Dstack:
    """The exporter."""

    title = "dstack"
    main = "task.dstack.yml"
    is_one_file = True
    most_plans = 1

    def export(self, tasks: Sequence[Task], folder: Path, main: str) -> Exported:
        """The YAML file of the task, and the folder with the plan and the scripts beside it.

        Raises:
            RemoteError: no bucket was named, or the files of the task are too large.
        """
        task = tasks[0]
        if not task.bucket:
            message = "dstack takes no large files, and deletes the disk of a task when it ends."
            raise RemoteError(
                message, "Name a folder in a bucket for images and results: --bucket s3://my-bucket/folder/"
            )
        _check_size(task)
        upload = PurePosixPath(f"{main.partition('.')[0]}-upload.sh")
        beside = PurePosixPath(f"{main.partition('.')[0]}-{FILES}")
        there_to = PurePosixPath(task.name)
        tables: dict[str, Any] = {
            "type": "task",
            "name": task.name,
            "python": PYTHON,
            "env": [*task.secrets, *task.settings],
            "files": [{"local_path": f"./{beside}", "path": str(there_to / FILES)}],
            "commands": [f"bash {there_to / there(SETUP)}", f"bash {there_to / there(TRAIN)}"],
            "resources": _resources(task.resources),
        }
        apply = f"dstack apply -f {shlex.quote(str(folder / main))}"
        comments = (f"{task.title}: a task for dstack, made by Easel.", task.one_machine, "Start it with:", apply)
        files = {
            PurePosixPath(main): yaml_text(comments, tables),
            upload: task.upload.encode(),
            **below(beside, task.files),
        }
        commands = (f"bash {shlex.quote(str(folder / upload))}", apply)
        notes = (
            f"The results will be in {task.bucket}{RESULTS}/.",
            f"These variables must be set where you run it: {', '.join((*task.secrets, *task.settings))}.",
            *task.notes,
        )
        return Exported(PurePosixPath(main), files, commands=commands, notes=notes)


def _check_size(task: Task) -> None:
    total = sum(len(content) + 2 * TAR_BLOCK for content in task.files.values())
    if total > LIMIT_BYTES:
        message = f"The files of the task have {total / 2**20:.1f} MB, and dstack takes {LIMIT_BYTES / 2**20:.0f} MB by default."
        raise RemoteError(message, "Say with --easel where Easel is there, or which git address has it.", "size")


def _resources(needed: Resources) -> dict[str, Any]:
    """Ranges without an upper end; of the GPUs one of those that fit, by name and by memory."""
    gpu: dict[str, Any] = {"count": 0}
    if needed.gpus:
        names = list(dict.fromkeys(each.dstack for each in needed.gpus if each.dstack))
        least = min(each.memory for each in needed.gpus)
        gpu = {"vendor": "nvidia", "name": names, "memory": f"{least}GB..", "count": needed.gpu_count}
    return {"gpu": gpu, "memory": f"{needed.ram_gib}GB..", "disk": f"{needed.disk_gib}GB.."}


exporter = Dstack()
