"""Questions to the parsers of installed engines: `real_parser_<engine>.py` answers them in the engine's own environment."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from trainer_core.child import child_environment
from trainer_core.install import environments

HERE = Path(__file__).parent
SECONDS = 1000


def ask(engine: str, jobs: dict[str, dict[str, Any]], folder: Path) -> dict[str, list[dict[str, str]]]:
    """What the installed engine says of each job by its title; skips, with the reason, where it is not installed.

    `jobs` are those of `real_parser_<engine>.py`; `folder` is for the question, and where the engine runs.
    """
    installed = environments.installed(engine)
    if installed is None:
        pytest.skip(f"{engine} is not installed, so its own parser cannot be asked")
    question = folder / "question.json"
    sources = {"sources": str(installed.source)} if installed.source else {}
    question.write_text(json.dumps({**sources, "jobs": list(jobs.values())}))
    done = subprocess.run(
        [str(installed.python), str(HERE / f"real_parser_{engine}.py"), str(question)],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=SECONDS,
        env=child_environment({"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}),
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(jobs, json.loads(done.stdout.strip().splitlines()[-1]), strict=True))


def kinds(found: list[dict[str, str]]) -> set[tuple[str, str]]:
    return {(problem["kind"], problem["name"]) for problem in found}
