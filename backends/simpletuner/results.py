"""Where SimpleTuner writes its results. Source: runs of 4.10.1 and 3.1.6; helpers/training/save_hooks.py and trainer.py."""

from __future__ import annotations

import re
from typing import Any

from backends.simpletuner import target
from backends.simpletuner.cell import SimpleTunerCell
from trainer_core.engines.seam import ArtefactPattern, Artefacts, StatePattern
from trainer_core.plan.sections import TrainingPlan

NETWORK_FILE = "pytorch_lora_weights.safetensors"
PROMPT = "prompt"
"""The name of a prompt of several begins with this, and ends with its number."""
PIPELINE = "pipeline"
"""The folder of a fully trained model: a complete diffusers folder."""
STATES_PER_RUN = 10
"""How often a state is saved in a run that saves no checkpoints: a tenth of the training is lost at most."""
MOST_CHECKPOINTS = 1000
"""The limit of checkpoints if all are kept; the engine needs a number."""
STATE = "checkpoint-{step}"
LAST_FILE = ".guard"
"""What 4.10.1 writes last into a checkpoint, after the order of the images; 3.1.6 has no such file. Source: trainer.py, checkpoint_state_save."""
STATE_FILES = ("optimizer*.bin", "scheduler*.bin", "scaler.pt", "random_states_*.pkl")
"""The files of a checkpoint that only resuming needs. Source: accelerate 1.15.0, checkpointing.py."""


def artefacts(plan: TrainingPlan, cell: SimpleTunerCell, version: str) -> Artefacts:
    """The patterns of the results in the output folder of this version; a fully trained model is a folder."""
    inside = cell.component if plan.model.method == "full" else NETWORK_FILE
    final = _final(plan, cell)
    return Artefacts(
        final=ArtefactPattern(final, f"^{re.escape(final)}$"),
        checkpoints=ArtefactPattern(f"checkpoint-*/{inside}", rf"^checkpoint-(?P<step>\d+)/{re.escape(inside)}$"),
        samples=ArtefactPattern(
            "validation_images/step_*.png",
            # The name of the prompt, then the number of its image, which is all that names the prompt if there is only one.
            rf"^validation_images/step_(?P<step>\d+)_(?:{PROMPT}(?=\d)|.*?_)(?:(?P<prompt>\d+)(?:__.*?)?_)?(?:\d+_)?\d+x\d+\.png$",
        ),
        # All of them are states, until Easel removes the files that make them so.
        states=StatePattern(
            "checkpoint-*",
            r"^checkpoint-(?P<step>\d+)(?:-rolling)?$",
            needs=(
                *("optimizer*.bin", "random_states_*.pkl", "training_state.json"),
                *((LAST_FILE,) if version.startswith("4.") else ()),
            ),
            parts=STATE_FILES,
            named=STATE,
            texts=("training_state*.json",),
            keep=plan.output.keep_states,
        ),
    )


def saving(plan: TrainingPlan) -> dict[str, Any]:
    """The options that save checkpoints and states; the engine itself removes old states that are no checkpoints."""
    kept = plan.output.keep_last if plan.output.save_every_steps else 0
    options: dict[str, Any] = {
        "checkpoint_step_interval": checkpoint_interval(plan),
        # Its own default is 5. Source: 4.10.1, checkpoint_state_cleanup counts the folders, and removes the oldest.
        "checkpoints_total_limit": kept or MOST_CHECKPOINTS,
    }
    if plan.output.keep_states and not plan.output.save_every_steps:
        options["checkpointing_rolling_steps"] = -(-plan.schedule.steps // STATES_PER_RUN)
        # Easel keeps one more until a newer one is known to be good, and removes it itself.
        options["checkpoints_rolling_total_limit"] = plan.output.keep_states + int(plan.guards.back_after_nan)
    return options


def _final(plan: TrainingPlan, cell: SimpleTunerCell) -> str:
    """The name of the finished result. For a LoRA it is the checkpoint of the last step, if there is one.

    The file that the engine writes at the very end has the same weights, but alpha = rank (4.10.1) or no alpha at all
    (3.1.6), whatever the plan says: trainer.py passes no adapter metadata to that last save. In LyCORIS files alpha is a tensor.
    """
    if plan.model.method == "full":
        return PIPELINE
    if ends_in_checkpoint(plan) and not target.is_lycoris(plan, cell):
        return f"checkpoint-{plan.schedule.steps}/{NETWORK_FILE}"
    return NETWORK_FILE


def checkpoint_interval(plan: TrainingPlan) -> int:
    """The number of steps between checkpoints: as in the plan, else one checkpoint at the end."""
    return min(plan.output.save_every_steps or plan.schedule.steps, plan.schedule.steps)


def ends_in_checkpoint(plan: TrainingPlan) -> bool:
    """Whether a checkpoint is written at the last step."""
    return plan.schedule.steps % checkpoint_interval(plan) == 0
