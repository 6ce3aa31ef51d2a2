"""Rules for the course of a training: its steps, rates and samples."""

from __future__ import annotations

from collections.abc import Iterator

from trainer_core import catalog
from trainer_core.plan.rules.case import Case
from trainer_core.problems import Fix, Problem

LATENT_PX = 8
"""How many pixels of a side one latent pixel stands for; an engine that wants more declares `sample_step`."""


def schedule_fits(case: Case) -> Iterator[Problem]:
    """Warm-up, saving and sampling lie within the steps."""
    plan = case.plan
    schedule = plan.schedule
    if schedule.warmup_steps >= schedule.steps:
        fix = Fix("Warm up over 10 % of the steps", {"schedule.warmup_steps": schedule.steps // 10})
        message = f"The warm-up of {schedule.warmup_steps} steps is as long as the training of {schedule.steps}."
        yield Problem("schedule.warmup_steps", "error", message, fix)
    if plan.sampling.every_steps > schedule.steps:
        fix = Fix("Sample at the end", {"sampling.every_steps": schedule.steps})
        yield Problem("sampling.every_steps", "warning", "No sample will be made: the training is shorter.", fix)
    if plan.sampling.at_start and not plan.sampling.every_steps:
        fix = Fix("Leave it out", {"sampling.at_start": False})
        yield Problem("sampling.at_start", "info", "No samples are made, so none is made before training either.", fix)
    if plan.output.save_every_steps > schedule.steps:
        fix = Fix("Keep only the last", {"output.save_every_steps": 0})
        yield Problem(
            "output.save_every_steps", "warning", "Nothing is saved on the way: the training is shorter.", fix
        )


def samples_can_be_drawn(case: Case) -> Iterator[Problem]:
    """The sides of a sample are whole latent pixels: sd-scripts would round them down unasked, SimpleTuner would stop."""
    sampling = case.plan.sampling
    step = case.claim.options.get("sample_step", LATENT_PX) if case.claim else LATENT_PX
    for path, side in (("sampling.width", sampling.width), ("sampling.height", sampling.height)):
        if sampling.every_steps and side % step:
            nearest = max(step, round(side / step) * step)
            message = f"The sides of a sample must be multiples of {step}."
            yield Problem(path, "error", message, Fix(f"Use {nearest}", {path: nearest}))


def learning_rate_suits_optimizer(case: Case) -> Iterator[Problem]:
    """An optimizer that finds its own rate gets 1; the others burn at 1.

    Source: Prodigy's authors and sd-scripts' own warning want a rate near 1; published presets with 2e-4 are mistakes.
    """
    plan = case.plan
    rate, optimizer = plan.optimizer.learning_rate, catalog.optimizers()[plan.optimizer.name]
    usual, most = (1e-4, 0.01) if plan.model.method in ("lora", "textual_inversion") else (1e-5, 1e-3)
    if optimizer.id.startswith("SGD"):
        usual, most = 100 * usual, 1.0
    if optimizer.adapts and not 0.1 <= rate <= 2:
        fix = Fix("Use 1", {"optimizer.learning_rate": 1.0})
        message = f"{optimizer.title} finds its own rate and wants 1, not {rate:g}."
        yield Problem("optimizer.learning_rate", "error", message, fix)
    elif not optimizer.adapts and rate > most:
        fix = Fix(f"Use {usual:g}", {"optimizer.learning_rate": usual})
        what = "the LoRA" if plan.model.method == "lora" else "what is trained"
        message = f"A learning rate of {rate:g} destroys {what} with {optimizer.title}; {usual:g} is usual."
        yield Problem("optimizer.learning_rate", "warning", message, fix)
    te_rate = plan.optimizer.text_encoder_learning_rate
    if plan.network.train_text_encoder and not optimizer.adapts and te_rate > most:
        usual = type(plan.optimizer)().text_encoder_learning_rate
        fix = Fix(f"Use {usual:g}", {"optimizer.text_encoder_learning_rate": usual})
        message = f"A learning rate of {te_rate:g} destroys the text encoder with {optimizer.title}."
        yield Problem("optimizer.text_encoder_learning_rate", "warning", message, fix)
    if optimizer.schedule_free and plan.schedule.scheduler != "constant":
        fix = Fix("Use constant", {"schedule.scheduler": "constant", "schedule.warmup_steps": 0})
        message = f"{optimizer.title} takes no learning rate curve: the schedule has no effect."
        yield Problem("schedule.scheduler", "warning", message, fix)


def curve_fits_scheduler(case: Case) -> Iterator[Problem]:
    """The schedule has the parts its curve is made of."""
    schedule = case.plan.schedule
    if schedule.scheduler == "inverse_sqrt" and not schedule.warmup_steps and schedule.timescale is None:
        # Source: transformers, get_inverse_sqrt_schedule: without a warm-up the time scale is 10000 steps.
        tenth = max(1, schedule.steps // 10)
        message = "Without a warm-up and a time scale this rate hardly falls: it takes 10000 steps for a third."
        fix = Fix(f"Use a time scale of {tenth}", {"schedule.timescale": tenth})
        yield Problem("schedule.timescale", "warning", message, fix)
    if schedule.scheduler == "warmup_stable_decay":
        if not schedule.decay_steps:
            tenth = max(1, schedule.steps // 10)
            message = "This schedule falls over its last steps, and none are given."
            fix = Fix(f"Fall over the last {tenth}", {"schedule.decay_steps": tenth})
            yield Problem("schedule.decay_steps", "error", message, fix)
        elif schedule.warmup_steps + schedule.decay_steps > schedule.steps:
            message = "Warm-up and decay together are longer than the training."
            tenth = max(1, schedule.steps // 10)
            shorter = {"schedule.decay_steps": tenth, "schedule.warmup_steps": min(schedule.warmup_steps, tenth)}
            fix = Fix("A tenth for each", {**shorter, "schedule.steps": max(schedule.steps, 2)})
            yield Problem("schedule.decay_steps", "error", message, fix)
