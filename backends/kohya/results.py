"""What sd-scripts saves: see `trainer_core.engines.step_saves`. Source: library/train_util.py, sample_image_inference."""

from __future__ import annotations

from trainer_core.engines import step_saves
from trainer_core.engines.seam import Artefacts
from trainer_core.plan.sections import TrainingPlan

SAMPLES = r"_e?(?P<step>\d{6,})_(?P<prompt>\d{2,})_\d{14}(?:_-?\d+)?\.png"
"""A sample before training has e000000."""
saving = step_saves.saving


def artefacts(plan: TrainingPlan) -> Artefacts:
    """The file names that the engine uses."""
    return step_saves.artefacts(plan, SAMPLES)
