"""What trainers save and when that count files by steps: the result, checkpoints, and states to resume from.

Those of one author share these options and names. Source: sd-scripts, library/train_util.py, and musubi-tuner,
utils/train_utils.py: STEP_FILE_NAME, STEP_STATE_NAME and save_and_remove_state_stepwise.
"""

from __future__ import annotations

import glob
import re
from typing import Any

from trainer_core.engines.seam import ArtefactPattern, Artefacts, StatePattern
from trainer_core.plan.sections import TrainingPlan

STATES_PER_RUN = 10
"""How often a state is saved in a run that saves no checkpoints: a tenth of the training is lost at most."""


def saving(plan: TrainingPlan) -> dict[str, Any]:
    """The options that save checkpoints and states.

    The engine saves a state only together with a checkpoint. If the plan asks for states alone, the engine removes each of
    these checkpoints when the next one is complete.
    """
    output = plan.output
    table: dict[str, Any] = {"save_every_n_steps": output.save_every_steps} if output.save_every_steps else {}
    if output.save_every_steps and output.keep_last:
        # Counted in steps before the newest, of which the engine removes the multiple of the interval below that.
        table["save_last_n_steps"] = output.save_every_steps * output.keep_last - 1
    if not output.keep_states:
        return table
    every = state_interval(plan)
    # Easel keeps one more until a newer one is known to be good, and removes it itself.
    spare = int(plan.guards.back_after_nan)
    if not output.save_every_steps:
        # 1 removes the checkpoint before.
        table["save_last_n_steps"] = 1
    if "save_last_n_steps" in table:
        # The states must not follow the checkpoints.
        table["save_last_n_steps_state"] = every * (output.keep_states + 1 + spare)
    return {**table, "save_every_n_steps": every, "save_state": True}


def state_interval(plan: TrainingPlan) -> int:
    """The number of steps between states: that of the checkpoints, else a tenth of the run."""
    return plan.output.save_every_steps or -(-plan.schedule.steps // STATES_PER_RUN)


def artefacts(plan: TrainingPlan, samples: str) -> Artefacts:
    """The file names that the engine uses; `samples` is the pattern of a sample's name after the name of the result."""
    stem = plan.output_stem
    name, shown = re.escape(stem), glob.escape(stem)
    # Checkpoints that the plan did not ask for are no results.
    asked = "" if plan.output.save_every_steps or not plan.output.keep_states else "(?!)"
    return Artefacts(
        final=ArtefactPattern(f"{shown}.safetensors", rf"^{name}\.safetensors$"),
        checkpoints=ArtefactPattern(
            f"{shown}-step*.safetensors", rf"{asked}^{name}-step(?P<step>\d{{8}})\.safetensors$"
        ),
        samples=ArtefactPattern(
            f"sample/{shown}_*.png",
            rf"^sample/{name}{samples}$",
        ),
        states=_states(stem, plan.output.keep_states) if plan.output.keep_states else None,
    )


def _states(stem: str, keep: int) -> StatePattern:
    """The folders of accelerate's save_state, whose last file has the random numbers; the state at the end has no step."""
    return StatePattern(
        f"{glob.escape(stem)}*-state",
        rf"^{re.escape(stem)}(?:-step(?P<step>\d{{8}}))?-state$",
        needs=("*.safetensors", "optimizer.bin", "random_states_*.pkl"),
        named=f"{stem.replace('{', '{{').replace('}', '}}')}-step{{step:08d}}-state",
        keep=keep,
    )
