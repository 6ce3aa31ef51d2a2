"""Plans for musubi-tuner that between them set most of what it has, and where it is said to be installed."""

from __future__ import annotations

from pathlib import Path

from backends.musubi import backend
from tests.support import engine_plans
from trainer_core.engines import contract

VARIANTS = {
    "plain": {},
    "sampled": {
        "sampling__every_steps": 50,
        "sampling__prompt": "{trigger} --w 9999, smiling",
        "sampling__negative_prompt": "text",
        "output__save_every_steps": 100,
        "output__keep_last": 2,
        "output__keep_states": 1,
        "output__prefix": "cg_",
        "dataset__repeats": 4,
        "dataset__bucketing": False,
        "dataset__subsets": ({"path": "/more", "repeats": 3},),
    },
    "low memory": {
        "memory__fp8_base": True,
        "memory__blocks_to_swap": 12,
        "memory__offload_checkpointing": True,
        "optimizer__name": "AdamW8bit",
    },
    "all learnt": {
        "network__rank_dropout": 0.1,
        "network__dropout": 0.2,
        "schedule__flow_shift": 2.75,
        "schedule__scheduler": "warmup_stable_decay",
        "schedule__warmup_steps": 50,
        "schedule__decay_steps": 100,
        "optimizer__name": "Prodigy",
        "optimizer__learning_rate": 1.0,
        "optimizer__beta2": 0.99,
        "native": {"musubi": {"network_args": ["loraplus_lr_ratio=4"], "sigmoid_scale": 1.5}},
    },
}
CELLS = contract.cells(backend)
EDITS = {
    "flux": {"model__variant": "kontext", "dataset__controls": "/before"},
    "flux2": {"model__variant": "klein-4b", "dataset__controls": "/before", "dataset__controls_2": "/style"},
    "qwen_image": {"model__variant": "edit-2511", "dataset__controls": "/before", "dataset__controls_2": "/style"},
}
"""What trains each family on control images; FLUX.1 only so."""


def full_plan(family: str, method: str = "lora", **values):
    """A plan of a cell with all the files its model needs beside it."""
    parts = {f"model__{part}": f"/models/{part}.safetensors" for part in backend.manifest.families[family].parts}
    usual = {
        "dataset__bucket_step": 16,
        "memory__cache_text_encoder": True,
        **(EDITS["flux"] if family == "flux" else {}),
    }
    return engine_plans.plan(
        family, **{"model__method": method, "model__path": "/models/base.safetensors", **usual, **parts, **values}
    )


def place(**more):
    return engine_plans.place(checkout=Path("/home/user/easel/engines/musubi/source"), **more)
