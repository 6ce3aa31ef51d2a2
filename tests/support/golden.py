"""Golden files: what engines are told, as text that can be read and reviewed.

After a change that is meant, EASEL_GOLDEN=write writes them anew; the difference is then reviewed like any other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from trainer_core.engines.seam import JobSpec

FOLDER = Path(__file__).parent.parent / "data" / "golden"
ROOT = Path(__file__).parents[2]


def check(name: str, jobs: Mapping[str, JobSpec]) -> None:
    """Passes when jobs are those of the golden file `name`: one section a job, with its commands and all its files."""
    text = "".join(_section(title, job) for title, job in jobs.items())
    path = FOLDER / name
    if os.environ.get("EASEL_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8"), f"{path} is another: look whether the change is meant"


def _section(title: str, job: JobSpec) -> str:
    files = "".join(f"--- {path}\n{text}" for path, text in job.files.items())
    files += "".join(f"--- {path} -> {folder}\n" for path, folder in job.folders.items())
    commands = "".join(f"$ {' '.join(step.argv)}\n" for step in job.steps)
    return f"===== {title}\n{commands}{files}\n".replace(str(ROOT), "/easel")
