"""Run folders as a training leaves them, written without training: for the history, comparisons and the trash."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import tomli_w

from trainer_core import events, places
from trainer_core.events import Event
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.training import facts

ARTEFACTS = {
    "final": {"glob": "*.safetensors", "pattern": r"^mika\.safetensors$"},
    "checkpoints": {"glob": "*.safetensors", "pattern": r"^mika-step(?P<step>\d{8})\.safetensors$"},
    "samples": {"glob": "sample/*.png", "pattern": r"_(?P<step>\d{6})_"},
}


def write_run(
    name: str,
    state: str = "COMPLETED",
    versions: dict[str, Any] | None = None,
    result: dict[str, Any] | None = None,
    is_old: bool = False,
    folder: Path | None = None,
    **settings: Any,
) -> Path:
    """A run folder; `settings` by path with __ instead of the dot; `is_old`: as an older Easel wrote it."""
    path = (folder or places.runs()) / name
    (path / "output").mkdir(parents=True)
    given = {"model.family": "sd15", "output.name": "mika", "dataset.trigger": "Mika", "schedule.steps": 100}
    given |= {key.replace("__", "."): value for key, value in settings.items()}
    plan = TrainingPlan.model_validate(fields.nest(given))
    tables = plan.model_dump(exclude_none=True)
    (path / "plan.toml").write_text(tomli_w.dumps({"schema_version": 1, "engine": "rehearsal", **tables}))
    told = {"schema_version": 2, "easel": "0.1.0", "python": "3.11.7", "engine": "rehearsal", **(versions or {})}
    if not is_old:
        created = time.mktime(time.strptime(name[:15], "%Y%m%d-%H%M%S"))
        told = {**facts.facts(plan, 3), "created": created, "gpu": "0", **told}
    (path / "versions.json").write_text(json.dumps(told))
    (path / "hardware.json").write_text("{}")
    spec = {
        "kind": "training",
        "steps": [{"name": "train", "argv": ["false"], "environment": {}}],
        "working_directory": str(path),
        "total_steps": plan.schedule.steps,
        "details": {
            "backend": "rehearsal",
            "files": [],
            "metrics": {"kind": "log", "folder": None, "loss": "", "learning_rates": []},
            "artefacts": ARTEFACTS,
        },
    }
    (path / "spec.json").write_text(json.dumps(spec))
    if state:
        ended = {"state": state, "outputs": [], "seconds": 60.0, "steps": 100, "peak_memory_bytes": 1 << 30}
        (path / "result.json").write_text(json.dumps({**ended, **(result or {})}))
    return path


def write_events(path: Path, *told: Event, every_s: float = 0.5) -> None:
    """The events file of a run."""
    rows = [{"time": 1000 + number * every_s, **events.to_dict(event)} for number, event in enumerate(told)]
    (path / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_images(path: Path, **captions: str) -> None:
    """The staged images of a run, each with its caption."""
    (path / "dataset").mkdir(exist_ok=True)
    for number, (name, caption) in enumerate(captions.items(), 1):
        (path / "dataset" / f"{number}-{name}.png").write_bytes(b"image")
        (path / "dataset" / f"{number}-{name}.txt").write_text(caption + "\n")
