"""Plans for SimpleTuner that between them set most of what it has, where it is said to be installed, and what it says of a plan."""

from __future__ import annotations

from backends.simpletuner import backend
from tests.support import engine_plans
from trainer_core.engines import contract
from trainer_core.engines.status import EngineStatus

FAMILIES = sorted(backend.manifest.families)
CELLS = contract.cells(backend)
VARIANTS = {
    "plain": {},
    "sampled": {
        "sampling__every_steps": 50,
        "sampling__negative_prompt": "text",
        "output__save_every_steps": 100,
        "dataset__bucketing": False,
        "dataset__repeats": 4,
        "dataset__shuffle_captions": True,
        "dataset__keep_tokens": 2,
    },
    "low memory": {
        "memory__fp8_base": True,
        "memory__blocks_to_swap": 18,
        "memory__offload_checkpointing": True,
        "memory__fused_backward": True,
        "memory__cache_latents": False,
        "optimizer__max_grad_norm": 0.0,
        "optimizer__name": "StableAdamW",
        "optimizer__beta2": 0.999,
    },
    "all learnt": {
        "network__algorithm": "lokr",
        "network__factor": 8,
        "network__targets": "full",
        "network__rank_stabilized": True,
        "schedule__min_snr_gamma": 5.0,
        "schedule__noise_offset": 0.05,
        "schedule__flow_shift": 2.5,
        "schedule__scheduler": "cosine_with_min_lr",
        "schedule__min_rate_ratio": 0.1,
        "optimizer__name": "Prodigy",
        "optimizer__learning_rate": 1.0,
        "optimizer__d0": 1e-5,
        "native": {"simpletuner": {"input_perturbation": 0.1, "launch": {"num_processes": 2}}},
    },
}
PREDICTED = {"sdxl": {"model__prediction": "v_prediction", "model__zero_terminal_snr": True}}


def full_plan(family: str, method: str, **values):
    """A plan of a cell."""
    return engine_plans.plan(family, **{"model__method": method, **PREDICTED.get(family, {}), **values})


def place(version: str = "4.10.1", accelerator: str = "cuda"):
    return engine_plans.place(version=version, options={"accelerator": accelerator})


def found(plan, version: str = "4.10.1", accelerator=engine_plans.CARD):
    return backend.problems(plan, engine_plans.machine(accelerator), EngineStatus(True, version))


def said(plan, version: str = "4.10.1", accelerator=engine_plans.CARD) -> dict[str, str]:
    every = engine_plans.problems(backend, plan, accelerator, status=EngineStatus(True, version))
    return {problem.path: problem.severity for problem in every}
