"""One or several plans as a job of Ray: each is trained on a node of its own, as far as there are enough.

Source: Ray 2.60.0, _private/runtime_env/packaging.py: the files of a job go to the nodes as one zip file, which the
dashboard takes up to 100 MiB (it answers "Maximum request body size 104857600 exceeded").
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from trainer_core.errors import RemoteError
from trainer_core.remote.export.task import RESULTS, Exported, Task
from trainer_core.remote.export.writing import below
from trainer_core.text import size

WORK = PurePosixPath("work")
MOST_BYTES = 95 << 20
UPLOAD = PurePosixPath("upload.sh")
PROGRAMS = Path(__file__).parent.parent / "programs"
GIB = 2**30


class Ray:
    """The exporter."""

    title = "Ray"
    main = "submit.py"
    is_one_file = False
    most_plans = 64

    def export(self, tasks: Sequence[Task], folder: Path, main: str) -> Exported:
        """The folder of the job, with a copy of the files that are needed, and the program that submits it.

        Raises:
            RemoteError: there are more files than a job of Ray can have.
        """
        # The plans of a sweep have one model and one dataset: these are sent once.
        sources = {mount.source: mount for task in tasks for mount in task.mounts}
        kept = {
            source: PurePosixPath("data", str(number), mount.target.name)
            for number, (source, mount) in enumerate(sources.items(), 1)
        }
        sent = sum(mount.size_bytes for mount in sources.values())
        if sent > MOST_BYTES:
            message = f"The files of the job have {size(sent)}, and Ray sends {size(MOST_BYTES)} at most."
            hint = "Let the nodes fetch the model with --model-from LINK, or bring everything through a bucket with --bucket."
            raise RemoteError(message, hint, "size")
        files: dict[PurePosixPath, bytes] = {
            PurePosixPath(main): (PROGRAMS / "ray_submit.py").read_bytes(),
            WORK / "job.py": (PROGRAMS / "ray_job.py").read_bytes(),
        }
        trainings = []
        for number, task in enumerate(tasks, 1):
            files |= below(WORK / str(number), task.files)
            data = {str(mount.target): str(kept[mount.source]) for mount in task.mounts}
            trainings.append(
                {"name": f"{number}-{task.name}", "files": str(number), "data": data, "needs": _needs(task)}
            )
        passed = sorted({name for task in tasks for name in (*task.secrets, *task.settings)})
        files[WORK / "job.json"] = (json.dumps({"trainings": trainings, "passed": passed}, indent=2) + "\n").encode()
        uploads = dict.fromkeys(task.upload for task in tasks if task.upload)
        if uploads:
            files[UPLOAD] = "".join(uploads).encode()
        copies = {WORK / path: source for source, path in kept.items()}
        submit = f"python {shlex.quote(str(folder / main))} --address http://HEAD:8265"
        commands = ((f"bash {shlex.quote(str(folder / UPLOAD))}",) if uploads else ()) + (submit,)
        return Exported(PurePosixPath(main), files, copies, commands, _notes(tasks, passed))


def _needs(task: Task) -> dict[str, Any]:
    """What Ray reserves for a training, in its own words."""
    needed = task.resources
    found: dict[str, Any] = {"num_cpus": 1, "num_gpus": needed.gpu_count, "memory": needed.ram_gib * GIB}
    if len(needed.gpus) == 1 and needed.gpus[0].ray:
        found["accelerator_type"] = needed.gpus[0].ray
    return found


def _notes(tasks: Sequence[Task], passed: Sequence[str]) -> tuple[str, ...]:
    first = tasks[0]
    where = f"{first.bucket}{RESULTS}/" if first.bucket else "~/easel-results on the node where the job's driver runs"
    notes = [f"The results will be in {where}."]
    if len(tasks) > 1:
        notes.append(f"Each of the {len(tasks)} plans is trained by itself, on a node of its own if there are enough.")
    gib = max(task.resources.gpu_gib for task in tasks)
    if gib:
        notes.append(f"Ray does not know the memory of GPUs: use nodes whose GPUs have {gib} GiB or more.")
    if passed:
        notes.append(f"{', '.join(passed)} are passed on when set. Who can read the jobs of the cluster can read them.")
    return (*notes, *dict.fromkeys(note for task in tasks for note in task.notes))


exporter = Ray()
