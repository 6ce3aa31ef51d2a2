"""What a run saves while it trains, and how large that gets, as sentences that are shown before the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.text import size

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest
    from trainer_core.estimate import Estimate
    from trainer_core.plan.sections import TrainingPlan

GIB, MIB = 1024**3, 1024**2


def sentences(plan: TrainingPlan, manifest: BackendManifest | None, found: Estimate | None = None) -> tuple[str, ...]:
    """What is saved and what stays of it: the checkpoints, the states, and what the engine saves beside them."""
    return tuple(filter(None, (_checkpoints(plan, found), *_states(plan, manifest, found))))


def in_short(plan: TrainingPlan, manifest: BackendManifest | None, found: Estimate | None = None) -> str:
    """The states in a few words: "a state every 130 steps to resume from (up to 340 MiB)"; "" if none is saved."""
    every = state_interval(plan, manifest)
    if not every:
        return ""
    often = f"every {every:,} steps" if every < plan.schedule.steps else "at the end"
    return f"a state {often} to resume from{_up_to(found)}"


def state_interval(plan: TrainingPlan, manifest: BackendManifest | None) -> int:
    """The number of steps between two states; 0 if the run saves none."""
    if manifest is None or manifest.resume is None or not plan.output.keep_states:
        return 0
    return plan.output.save_every_steps or manifest.resume.interval(plan.schedule.steps)


def _checkpoints(plan: TrainingPlan, found: Estimate | None) -> str:
    every, steps = plan.output.save_every_steps, plan.schedule.steps
    each = f", about {size(found.lora_mib * MIB)}" if found is not None and found.lora_mib else ""
    if not every or every > steps:
        return f"No checkpoint is kept: only the result of the last step{each}."
    each = f"{each} each" if each else ""
    number, kept = steps // every, plan.output.keep_last
    stays = f"the newest {kept} stay" if 0 < kept < number else "all stay"
    stays = "it stays" if number == 1 else stays
    return f"A checkpoint every {every:,} steps: {number:,}{each}, and {stays}."


def _states(plan: TrainingPlan, manifest: BackendManifest | None, found: Estimate | None) -> list[str]:
    every = state_interval(plan, manifest)
    if not every or manifest is None or manifest.resume is None:
        return []
    kept = plan.output.keep_states + int(plan.guards.back_after_nan)
    newest = "the newest one stays" if kept == 1 else f"the newest {kept} stay"
    if every >= plan.schedule.steps:
        return [f"A state to resume from at the end{_up_to(found)}."]
    said = f"A state to resume from every {every:,} steps: {newest}, and one more while a new one is written{_up_to(found)}."
    if plan.output.save_every_steps or not (manifest.estimate and manifest.estimate.checkpoint_beside_state):
        return [said]
    each = f", {size(found.lora_mib * MIB)} each" if found is not None and found.lora_mib else ""
    return [
        said,
        (
            f"{manifest.title} saves a state only together with a checkpoint. So it also saves a checkpoint every {every:,} steps "
            f"that you did not ask for, and removes it when the next one is complete: two at most{each}."
        ),
    ]


def _up_to(found: Estimate | None) -> str:
    return f" (up to {size(found.states_gib * GIB)} together)" if found is not None and found.states_gib else ""
