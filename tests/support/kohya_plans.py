"""Plans for sd-scripts that between them set most of what it has, and where it is said to be installed."""

from __future__ import annotations

from pathlib import Path

from backends.kohya import backend
from tests.support import engine_plans
from trainer_core.engines import contract

VARIANTS = {
    "plain": {},
    "sampled": {
        "sampling__every_steps": 50,
        "sampling__prompt": "{trigger} --w 9999, smiling",
        "sampling__negative_prompt": "text",
        "output__save_every_steps": 100,
        "output__prefix": "cg_",
    },
    "class images": {
        "dataset__class_path": "/data/dogs",
        "dataset__class_caption": "a dog",
        "dataset__class_repeats": 2,
        "dataset__class_weight": 0.5,
        "output__save_every_steps": 100,
        "output__keep_last": 2,
        "output__keep_states": 1,
    },
    "low memory": {
        "memory__cache_text_encoder": True,
        "memory__fp8_base": True,
        "memory__half_weights": True,
        "memory__blocks_to_swap": 18,
        "memory__fused_backward": True,
        "optimizer__name": "Adafactor",
        "optimizer__clip_threshold": 0.5,
    },
    "all learnt": {
        "network__train_text_encoder": True,
        "schedule__min_snr_gamma": 5.0,
        "schedule__noise_offset": 0.05,
        "schedule__flow_shift": 2.5,
        "schedule__scheduler": "warmup_stable_decay",
        "schedule__warmup_steps": 50,
        "schedule__decay_steps": 100,
        "embedding__init_word": "cat",
        "optimizer__name": "Prodigy",
        "optimizer__learning_rate": 1.0,
        "optimizer__beta2": 0.99,
        "native": {"kohya": {"huber_c": 0.2, "persistent_data_loader_workers": True}},
    },
}
CELLS = contract.cells(backend)


def full_plan(family: str, method: str, **values):
    """A plan of a cell with all the files its model needs beside it."""
    parts = {f"model__{part}": f"/models/{part}.safetensors" for part in backend.manifest.families[family].parts}
    return engine_plans.plan(family, model__method=method, **parts, **values)


def place():
    return engine_plans.place(
        checkout=Path("/home/user/easel/engines/kohya/source"),
        options={"tokenizers": "/home/user/easel/models/tokenizers"},
    )
