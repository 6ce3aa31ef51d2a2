"""Problems that sd-scripts would have with the model, dataset, network, optimizer, schedule and sampling of a plan.

Each rule covers a case where the engine stops, or silently ignores a setting. `cell` is the entry of `backend.toml` for
the plan's family and method.
"""

from __future__ import annotations

from collections.abc import Iterator

from backends.kohya import image_rules, target
from backends.kohya.cell import KohyaCell
from backends.kohya.translation import TRANSLATION
from trainer_core import catalog
from trainer_core.engines.claim import caption_problems
from trainer_core.hardware import Machine
from trainer_core.plan import samples
from trainer_core.plan.effect import no_effect
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

LEAST_ADAPTED = 0.1
"""The lowest useful learning rate of an optimizer that finds its own rate. Source: library/train_util.py, get_optimizer warns below it."""
CONVOLUTION_SETTINGS = ("conv_rank", "conv_alpha", "tucker")


def check(plan: TrainingPlan, machine: Machine, cell: KohyaCell) -> Iterator[Problem]:
    """The Problems of everything except memory and native settings."""
    yield from _clip_skip(plan, machine, cell)
    yield from image_rules.check(plan, cell)
    yield from caption_problems(cell, plan.dataset.caption_tokens)
    yield from _trained(plan, cell)
    yield from _network(plan, cell)
    yield from _optimizer(plan, cell)
    yield from _samples(plan, cell)


def has_gpu(machine: Machine) -> bool:
    """Whether the machine has an accelerator other than the CPU."""
    return any(accelerator.kind != "cpu" for accelerator in machine.accelerators)


def _clip_skip(plan: TrainingPlan, machine: Machine, cell: KohyaCell) -> Iterator[Problem]:
    used = cell.clip_skip and plan.model.clip_skip != 1
    if used and plan.memory.mixed_precision == "bf16" and not has_gpu(machine):
        # Source: a run: "mixed dtype (CPU): expect parameter to have scalar type of Float" in strategy_sd.py.
        message = "Clip skip does not work in bf16 on a CPU, and no GPU was found."
        yield Problem("model.clip_skip", "error", message, Fix("Use precision no", {"memory.mixed_precision": "no"}))


def _trained(plan: TrainingPlan, cell: KohyaCell) -> Iterator[Problem]:
    trains, optimizer = plan.network.train_text_encoder, plan.optimizer
    possible = cell.text_encoders or cell.text_encoder_switch
    if trains and not possible:
        message = "This engine cannot train the text encoder of this model family with this method."
        fix = Fix("Do not train it", {"network.train_text_encoder": False})
        yield Problem("network.train_text_encoder", "error", message, fix)
    if trains and possible and not optimizer.text_encoder_learning_rate:
        # Source: prepare_optimizer_params and sdxl_train.py skip parameters with a learning rate of 0.
        message = "With a learning rate of 0 the text encoder is not trained."
        fix = Fix("Do not train it", {"network.train_text_encoder": False})
        yield Problem("optimizer.text_encoder_learning_rate", "error", message, fix)
    if plan.model.method == "dreambooth" and trains and plan.schedule.gradient_accumulation > 1:
        # Source: train_db.py warns that accelerate does not support it when two models are trained.
        message = "The engine does not support gradient accumulation when it also trains the text encoder."
        fix = Fix("Use 1", {"schedule.gradient_accumulation": 1})
        yield Problem("schedule.gradient_accumulation", "error", message, fix)


def _network(plan: TrainingPlan, cell: KohyaCell) -> Iterator[Problem]:
    network = plan.network
    if plan.model.method != "lora":
        return
    if network.algorithm == "dylora" and network.block_size and network.rank % network.block_size:
        # Source: networks/dylora.py, DyLoRAModule: "rank must be a multiple of unit".
        divisor = next(size for size in range(network.block_size, 0, -1) if network.rank % size == 0)
        fix = Fix(f"Use {divisor}", {"network.block_size": divisor})
        yield Problem("network.block_size", "error", "The rank must be a multiple of the block size.", fix)
    read = catalog.algorithms()[network.algorithm].settings
    is_own = target.module(plan, cell) != target.LYCORIS
    if is_own and network.conv_alpha and not network.conv_rank and "conv_alpha" in read and cell.convolutions:
        # Source: networks/lora.py, create_network: it reads conv_alpha only with conv_dim.
        yield no_effect("network.conv_alpha", "without a convolution rank this network leaves convolutions out.")
    # Source: lycoris/config.py: the presets for attention layers turn convolutions off.
    attention = network.targets.startswith("attention") and "targets" in read
    if attention and cell.convolutions:
        for name in CONVOLUTION_SETTINGS:
            if name in read and getattr(network, name) not in (None, False):
                yield no_effect(f"network.{name}", "only attention layers are trained.")
    if network.algorithm == "boft" and network.rank < cell.boft_rank:
        # Source: lycoris/functional/general.py, power2factorization: "It is impossible to decompose ...".
        least = cell.boft_rank
        message = f"For this model BOFT needs a rank of {least} or more."
        yield Problem("network.rank", "error", message, Fix(f"Use {least}", {"network.rank": least}))
    if network.targets == "attention" and "targets" in read and not cell.attention_layers:
        # Source: lycoris/config.py, "attn-only": it names layers that this model does not have, so nothing would be trained.
        message = "The engine cannot select only the attention layers of this model."
        fix = Fix("Use attention_mlp", {"network.targets": "attention_mlp"})
        yield Problem("network.targets", "error", message, fix)


def _optimizer(plan: TrainingPlan, cell: KohyaCell) -> Iterator[Problem]:
    optimizer, schedule = plan.optimizer, plan.schedule
    entry = catalog.optimizers()[optimizer.name]
    if entry.schedule_free:
        # Source: get_scheduler_fix gives these optimizers an empty schedule; two of them warm up by themselves.
        if schedule.warmup_steps and optimizer.name not in TRANSLATION.warms_up_itself:
            yield no_effect("schedule.warmup_steps", f"{entry.title} has no warm-up.")
    elif schedule.scheduler == "constant" and schedule.warmup_steps:
        fix = Fix("Use constant_with_warmup", {"schedule.scheduler": "constant_with_warmup"})
        message = "The constant schedule has no warm-up, and the engine stops when one is set."
        yield Problem("schedule.warmup_steps", "error", message, fix)
    if schedule.scheduler == "polynomial" and optimizer.learning_rate <= 1e-7:
        # Source: transformers, get_polynomial_decay_schedule_with_warmup: "lr_end must be smaller than initial lr".
        fix = Fix("Use linear", {"schedule.scheduler": "linear"})
        message = "This schedule ends at a learning rate of 1e-7, so the learning rate must be higher than that."
        yield Problem("schedule.scheduler", "error", message, fix)
    own = optimizer.text_encoder_learning_rate
    if not plan.network.train_text_encoder or not (cell.text_encoders or cell.text_encoder_switch):
        return
    fix = Fix("Use the same rate", {"optimizer.text_encoder_learning_rate": optimizer.learning_rate})
    path = "optimizer.text_encoder_learning_rate"
    if entry.one_rate and own not in (0, optimizer.learning_rate):
        message = f"{entry.title} supports only one learning rate, so the text encoder must have the same one."
        yield Problem(path, "error", message, fix)
    elif entry.adapts and 0 < own < LEAST_ADAPTED:
        message = f"{entry.title} finds its own learning rate and multiplies it by this one, so {own:g} hardly trains the text encoder."
        yield Problem(path, "error", message, fix)


def _samples(plan: TrainingPlan, cell: KohyaCell) -> Iterator[Problem]:
    sampling = plan.sampling
    if not sampling.every_steps:
        return
    if cell.seed_above_zero:
        message = "The engine stops at the first sample whose seed is 0."
        fix = Fix("Use 1", samples.replaced(sampling, "seed", 0, 1))
        yield from (
            Problem(path, "error", message, fix) for path in samples.places_of(sampling, "seed", lambda seed: seed == 0)
        )
    if cell.guidance:
        message = "The engine generates samples of this model without a negative prompt."
        fix = Fix("Remove it", samples.cleared(sampling, "negative_prompt", ""))
        yield from (
            Problem(path, "info", message, fix) for path in samples.places_of(sampling, "negative_prompt", bool)
        )
