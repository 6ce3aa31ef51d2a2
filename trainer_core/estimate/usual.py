"""How long the stages before a training usually take on this machine: from the events of earlier runs that are alike."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from trainer_core import events, places
from trainer_core.events import real
from trainer_core.jobs.timeline import TRAINING, Timeline
from trainer_core.training.run import Run, list_runs

MOST = 5
"""How many of the newest runs that are alike are read."""
MOST_LOOKED_AT = 60
HEAD_BYTES = 256 << 10
IMAGES = "Images"


def usual_stages(run: Run, earlier: Iterable[Run] | None = None) -> dict[str, float]:
    """The usual seconds of each stage before the training of a run, by its name; without those that no earlier run tells.

    Runs are alike with the same engine and model; their images count if they are as many.
    """
    mine = _kind(run)
    found: dict[str, list[float]] = {}
    alike = 0
    for other in list(list_runs(places.runs()) if earlier is None else earlier)[:MOST_LOOKED_AT]:
        if other.folder.path == run.folder.path or _kind(other)[:3] != mine[:3]:
            continue
        stages = stages_before_training(other)
        alike += bool(stages)
        for name, seconds in stages.items():
            if name != IMAGES or _kind(other) == mine:
                found.setdefault(name, []).append(seconds)
        if alike == MOST:
            break
    return {name: statistics.median(values) for name, values in found.items()}


def stages_before_training(run: Run) -> dict[str, float]:
    """The seconds of each stage of a run before its first step; none if it did not come so far."""
    timeline = Timeline()
    content, _ = run.host.read(run.folder.events, 0, HEAD_BYTES)
    for data in events.read_lines(content.rpartition(b"\n")[0]):
        if (event := events.from_dict(data)) is None:
            continue
        timeline.take(event, real(data.get("time")))
        if timeline.stages and timeline.stages[-1].name == TRAINING:
            return {stage.name: stage.seconds for stage in timeline.stages[:-1]}
    return {}


def _kind(run: Run) -> tuple[str, str, str, str]:
    """What the time before the training depends on: engine, family, model file, number of images."""
    versions = run.folder.versions
    about = versions.get("about")
    about = about if isinstance(about, dict) else {}
    texts = (versions.get("engine"), about.get("family"), about.get("model"), versions.get("images"))
    engine, family, model, images = map(str, texts)
    return engine, family, model, images
