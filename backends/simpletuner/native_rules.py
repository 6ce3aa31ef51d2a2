"""Checks native settings that SimpleTuner uses only for one kind of network, or that make it stop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backends.simpletuner import render, target
from backends.simpletuner.cell import SimpleTunerCell
from trainer_core.engines import needs
from trainer_core.engines.manifest import BackendManifest
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem

PATH = f"native.{render.ID}"
PEFT_ONLY = ("flux_lora_target", "lora_init_type", "peft_lora_mode", "peft_lora_target_modules", "slider_lora_target")
"""Source: helpers/models/common.py, add_lora_adapter and get_lora_target_layers; LyCORIS gets its layers from its own file."""
LYCORIS_ONLY = ("validation_lycoris_strength",)
"""Source: helpers/training/validation.py, setup_pipeline."""
LORA_ONLY = ("base_model_precision",)
"""Source: helpers/configuration/cmd_args.py, is_quantized."""


def check(
    plan: TrainingPlan, native: Mapping[str, Any], cell: SimpleTunerCell, manifest: BackendManifest
) -> Iterator[Problem]:
    """The Problems of native settings whose names and types are valid."""
    yield from needs.unmet(manifest.id, plan, native, manifest.options, {})
    is_lora, is_lycoris = plan.model.method == "lora", target.is_lycoris(plan, cell)
    for names, read, why in (
        (
            PEFT_ONLY,
            is_lora and not is_lycoris,
            "only the engine's own LoRA uses it, but LyCORIS creates this network.",
        ),
        (LYCORIS_ONLY, is_lycoris, "only LyCORIS networks use it."),
        (LORA_ONLY, is_lora, "the trained weights of a whole model are not quantized."),
    ):
        for name in names:
            if native.get(name) and not read:
                reason = why if is_lora else "no network is trained." if names != LORA_ONLY else why
                yield Problem(f"{PATH}.{name}", "error", f"{name} has no effect here: {reason}")
    network = plan.network
    if native.get("init_lokr_norm") and is_lycoris:
        if network.algorithm != "lokr" or not network.full_matrix or network.decompose_both:
            # Source: helpers/training/peft_init.py: it fills lokr_w1 and lokr_w2, which other networks do not have.
            message = "init_lokr_norm needs LoKr with network.full_matrix on and network.decompose_both off; otherwise the engine stops."
            yield Problem(f"{PATH}.init_lokr_norm", "error", message)
    elif native.get("init_lokr_norm"):
        yield Problem(f"{PATH}.init_lokr_norm", "error", "init_lokr_norm has no effect here: it works only with LoKr.")
