"""What musubi-tuner saves: see `trainer_core.engines.step_saves`. Source: training/trainer_base.py, sample_image_inference."""

from __future__ import annotations

from trainer_core.engines import step_saves
from trainer_core.engines.seam import Artefacts
from trainer_core.plan.sections import TrainingPlan

SAMPLES = r"_(?:e(?=0{6}_))?(?P<step>\d{6,})_(?P<prompt>\d{2,})_\d{14}(?:_-?\d+)?_\d{3}\.png"
"""A sample before training has e000000. Other numbers after an e count epochs: at the end of an epoch whose last step has samples
the engine makes the same samples once more, under such a name."""
saving = step_saves.saving


def artefacts(plan: TrainingPlan) -> Artefacts:
    """The file names that the engine uses."""
    return step_saves.artefacts(plan, SAMPLES)
