"""Rules for steps, learning rates and samples."""

from __future__ import annotations

import math
from collections.abc import Iterator

from trainer_core import catalog
from trainer_core.draft.checks.case import Case
from trainer_core.plan import samples
from trainer_core.problems import Fix, Problem

RATE, TEXT_ENCODER_RATE, DECAY = (
    "optimizer.learning_rate",
    "optimizer.text_encoder_learning_rate",
    "optimizer.weight_decay",
)
DESTROYS = 1.0
"""The learning rate from which a step of its size certainly destroys weights, which are far smaller than 1."""
FORGETS = 3.0
"""The sum of the weight decay of all steps from which a warning is shown: a weight falls to exp(-3), a twentieth."""
LATENT_PX = 8
"""The width of one latent pixel in image pixels; an engine that needs a larger step declares `sample_step`."""


def schedule_fits(case: Case) -> Iterator[Problem]:
    """Warm-up, saving and sampling are within the steps."""
    plan = case.plan
    schedule = plan.schedule
    if schedule.warmup_steps >= schedule.steps:
        fix = Fix("Warm up over 10 % of the steps", {"schedule.warmup_steps": schedule.steps // 10})
        message = (
            f"The warm-up ({schedule.warmup_steps} steps) must be shorter than the training ({schedule.steps} steps)."
        )
        yield Problem("schedule.warmup_steps", "error", message, fix)
    elif 2 * schedule.warmup_steps > schedule.steps:
        share = schedule.warmup_steps / schedule.steps
        fix = Fix("Warm up over 10 % of the steps", {"schedule.warmup_steps": schedule.steps // 10})
        message = (
            f"The warm-up takes {share:.0%} of the steps, so the learning rate is reached only late in the training."
        )
        yield Problem("schedule.warmup_steps", "warning", message, fix)
    if plan.sampling.every_steps > schedule.steps:
        fix = Fix("Sample at the end", {"sampling.every_steps": schedule.steps})
        yield Problem("sampling.every_steps", "warning", "No sample is made: the training has fewer steps.", fix)
    if plan.sampling.at_start and not plan.sampling.every_steps:
        fix = Fix("Turn it off", {"sampling.at_start": False})
        yield Problem(
            "sampling.at_start", "info", "A sample before training has no effect: samples are turned off.", fix
        )
    if plan.output.save_every_steps > schedule.steps:
        fix = Fix("Save only the last", {"output.save_every_steps": 0})
        yield Problem(
            "output.save_every_steps", "warning", "Nothing is saved during training: it has fewer steps.", fix
        )


def samples_can_be_drawn(case: Case) -> Iterator[Problem]:
    """The size of a sample is a multiple of a latent pixel: else sd-scripts rounds it down, and SimpleTuner stops."""
    step = (case.claim.sample_step if case.claim else None) or LATENT_PX
    if case.plan.sampling.every_steps:
        message = f"Width and height of a sample must be multiples of {step}."
        yield from samples.side_problems(case.plan.sampling, step, message)


def prompts_are_used(case: Case) -> Iterator[Problem]:
    """Several prompts are used, and each has a text."""
    sampling = case.plan.sampling
    if not sampling.prompts:
        return
    if not sampling.every_steps:
        message = "The sample prompts have no effect: samples are turned off."
        yield Problem("sampling.prompts", "info", message)
    empty = [prompt.index + 1 for prompt in case.plan.sample_prompts if not prompt.text]
    if empty:
        written = tuple(prompt.model_dump() for prompt in sampling.prompts if prompt.text.strip(" ,"))
        fix = Fix("Remove it", {"sampling.prompts": written}) if len(written) < len(sampling.prompts) else None
        yield Problem("sampling.prompts", "warning", f"Sample prompt {empty[0]} has no text.", fix)


def learning_rate_suits_optimizer(case: Case) -> Iterator[Problem]:
    """The learning rate is 1 for an optimizer that finds its own, and far lower for the others.

    Source: Prodigy's authors and a warning of sd-scripts recommend a rate near 1; published presets with 2e-4 are mistakes.
    """
    plan = case.plan
    rate, optimizer = plan.optimizer.learning_rate, catalog.optimizers()[plan.optimizer.name]
    if optimizer.adapts and not 0.1 <= rate <= 2:
        fix = Fix("Use 1", {RATE: 1.0})
        message = f"{optimizer.title} finds its own learning rate, so this must be 1, not {rate:g}."
        yield Problem(RATE, "error", message, fix)
    what = "the LoRA" if plan.model.method == "lora" else "the result"
    yield from _too_high(case, RATE, rate, usual_rates(case)[0], what)
    if plan.network.train_text_encoder:
        te_rate = plan.optimizer.text_encoder_learning_rate
        usual = type(plan.optimizer)().text_encoder_learning_rate
        yield from _too_high(case, TEXT_ENCODER_RATE, te_rate, usual, "the text encoder")
    if optimizer.schedule_free and plan.schedule.scheduler != "constant":
        fix = Fix("Use constant", {"schedule.scheduler": "constant", "schedule.warmup_steps": 0})
        message = f"{optimizer.title} needs no learning rate schedule, so this has no effect."
        yield Problem("schedule.scheduler", "warning", message, fix)


def usual_rates(case: Case) -> tuple[float, float]:
    """A usual learning rate for the method and optimizer of a plan, and the highest one that is not suspicious."""
    usual, most = (1e-4, 0.01) if case.plan.model.method in ("lora", "textual_inversion") else (1e-5, 1e-3)
    follows = catalog.optimizers()[case.plan.optimizer.name].follows_gradient
    return (100 * usual, 1.0) if follows else (usual, most)


def _too_high(case: Case, path: str, rate: float, usual: float, what: str) -> Iterator[Problem]:
    """The Problem of a learning rate that is too high: an error where a step certainly destroys what it changes.

    Where the size of a step is the learning rate, one of 1 changes every weight by about 1 in every step, and weights are far
    smaller. Where it follows the gradient, a high rate can be right.
    """
    optimizer, most = catalog.optimizers()[case.plan.optimizer.name], usual_rates(case)[1]
    if optimizer.adapts or rate <= most:
        return
    below = case.below.get(path)
    # The value of the profile, unless it is for an optimizer that finds its own learning rate.
    best = below if isinstance(below, float) and 0 < below <= most else usual
    fix = Fix(f"Use {best:g}", {path: best})
    if optimizer.follows_gradient or rate < DESTROYS:
        message = f"A learning rate of {rate:g} is too high for {optimizer.title} and ruins {what}; {best:g} is usual."
        yield Problem(path, "warning", message, fix)
        return
    message = (
        f"A learning rate of {rate:g} destroys {what}: each step of {optimizer.title} changes every weight by about the "
        f"learning rate, and weights are far smaller than 1. {best:g} is usual."
    )
    yield Problem(path, "error", message, fix)


def weight_decay_leaves_weights(case: Case) -> Iterator[Problem]:
    """The weight decay does not remove the weights: each step multiplies them by 1 - learning rate * weight decay.

    Source: torch.optim.AdamW and SGD; the others of the catalogue multiply in the same way. An optimizer that finds its own
    learning rate multiplies by that, which is not known before.
    """
    plan = case.plan
    optimizer, decay = catalog.optimizers()[plan.optimizer.name], plan.optimizer.weight_decay
    rate, steps = plan.optimizer.learning_rate, plan.schedule.steps
    is_read = "weight_decay" in optimizer.settings and not optimizer.adapts
    if not is_read or not decay or (not optimizer.follows_gradient and rate >= DESTROYS):
        return  # the rate itself is reported
    below = case.below.get(DECAY)
    usual = type(plan.optimizer)().weight_decay
    best = below if isinstance(below, float) and below < decay else usual
    fix = Fix(f"Use {best:g}", {DECAY: best}) if best < decay else None
    if rate * decay >= 1:
        message = (
            f"A weight decay of {decay:g} with a learning rate of {rate:g} removes every weight in each step "
            f"({rate:g} * {decay:g} = {rate * decay:g} of it), so nothing can be learned."
        )
        yield Problem(DECAY, "error", message, fix)
    elif decay >= 1 and rate <= usual_rates(case)[1] and rate * decay * steps >= FORGETS:
        message = (
            f"A weight decay of {decay:g} with a learning rate of {rate:g} over {steps} steps removes most of what was learned: "
            f"a weight that is no longer trained falls to {math.exp(-rate * decay * steps):.0%}."
        )
        yield Problem(DECAY, "warning", message, fix)


def curve_fits_scheduler(case: Case) -> Iterator[Problem]:
    """The settings that the chosen schedule needs are set."""
    schedule = case.plan.schedule
    if catalog.optimizers()[case.plan.optimizer.name].schedule_free:
        return  # it uses no schedule; another rule reports that
    if schedule.scheduler == "inverse_sqrt" and not schedule.warmup_steps and schedule.timescale is None:
        # Source: transformers, get_inverse_sqrt_schedule: without a warm-up the time scale is 10000 steps.
        tenth = max(1, schedule.steps // 10)
        message = "Without a warm-up or a time scale, the learning rate hardly falls: by a third in 10000 steps."
        fix = Fix(f"Use a time scale of {tenth}", {"schedule.timescale": tenth})
        yield Problem("schedule.timescale", "warning", message, fix)
    if schedule.scheduler == "warmup_stable_decay":
        if not schedule.decay_steps:
            tenth = max(1, schedule.steps // 10)
            message = "This schedule needs the number of last steps in which the learning rate falls, and none is set."
            fix = Fix(f"Use the last {tenth} steps", {"schedule.decay_steps": tenth})
            yield Problem("schedule.decay_steps", "error", message, fix)
        elif schedule.warmup_steps + schedule.decay_steps > schedule.steps:
            message = "Warm-up and decay together are longer than the training."
            tenth = max(1, schedule.steps // 10)
            shorter = {"schedule.decay_steps": tenth, "schedule.warmup_steps": min(schedule.warmup_steps, tenth)}
            fix = Fix("Use a tenth of the steps for each", {**shorter, "schedule.steps": max(schedule.steps, 2)})
            yield Problem("schedule.decay_steps", "error", message, fix)
