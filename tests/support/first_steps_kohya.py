"""The first training steps of the real modules that sd-scripts uses, on a CPU. Runs in the engine's Python, which finds its source.

Prints {name: result}; a result is "trains", "NaN", or an error. Arguments: a JSON file with optimizers (name: engine's name) and
their arguments.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate import Accelerator
from library import adafactor_fused, train_util
from lycoris import kohya

logging.disable(logging.ERROR)
FLOAT8 = torch.float8_e4m3fn
NETWORKS: dict[str, dict[str, str]] = {
    "locon": {"algo": "lora"},
    "dora": {"algo": "lora", "dora_wd": "True"},
    "loha": {"algo": "loha"},
    "lokr": {"algo": "lokr"},
    "glora": {"algo": "glora"},
    "ia3": {"algo": "ia3"},
    "oft": {"algo": "diag-oft"},
    "boft": {"algo": "boft"},
    "full": {"algo": "full"},
}


class Transformer2DModel(torch.nn.Module):
    """A class that LyCORIS looks for."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(64, 64)


class Model(torch.nn.Module):
    """A model of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Transformer2DModel()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block.layer(x)


def network_step(when: str, **arguments: str) -> str:
    """A network on a base model that is turned into 8 bits "before" or "after" the network is made."""
    model = Model().to(torch.bfloat16)
    model.to(FLOAT8 if when == "before" else torch.bfloat16)
    network = kohya.create_network(1.0, 8, 2, None, [], model, **arguments)
    network.apply_to([], model, False, True)
    model.requires_grad_(False)
    groups = network.prepare_optimizer_params(None, 1e-3, 1e-3)[0]
    model.to(FLOAT8)
    parameters = [each for group in groups for each in group["params"]]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    for _ in range(2):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(torch.randn(2, 64))
        (out.float() - torch.randn(2, 64)).pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return result(parameters)


def result(parameters: Any) -> str:
    return "trains" if all(bool(each.isfinite().all()) for each in parameters) else "NaN"


def scaled_step(dtype: torch.dtype, how: str) -> str:
    """Trained weights in this dtype with gradients scaled for fp16: with a plain step, "patched", "fused" or in "groups"."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)).to(dtype)
    accelerator = Accelerator(cpu=True)
    accelerator.scaler, accelerator.native_amp = torch.amp.GradScaler("cpu"), True
    Accelerator.mixed_precision = property(lambda _: "fp16")  # which it refuses to be on a CPU
    accelerator._optimizers.clear()
    layers = list(model) if how == "groups" else [model]
    optimizers = [accelerator.prepare(_optimizer(layer, how)) for layer in layers]
    for each in optimizers:
        each.scaler = accelerator.scaler
    if how == "patched":
        train_util.patch_accelerator_for_fp16_training(accelerator)
    if how == "fused":
        adafactor_fused.patch_adafactor_fused(optimizers[0])
    for optimizer in optimizers if how in ("fused", "groups") else ():
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.register_post_accumulate_grad_hook(_hook(accelerator, optimizer, group, how))
    for _ in range(2):
        loss = model(torch.randn(4, 8).to(dtype)).float().pow(2).mean()
        accelerator.scaler.scale(loss).backward()
        if how in ("plain", "patched"):
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizers[0].step()
            optimizers[0].zero_grad()
    return "steps"


def _optimizer(layer: torch.nn.Module, how: str) -> torch.optim.Optimizer:
    if how == "fused":
        return transformers.Adafactor(layer.parameters(), lr=1e-3, scale_parameter=False, relative_step=False)
    return torch.optim.SGD(layer.parameters(), lr=1e-3)


def _hook(accelerator: Accelerator, optimizer: Any, group: dict[str, Any], how: str) -> Callable[[torch.Tensor], None]:
    """As in the scripts: sdxl_train.py and sd3_train.py, fused_backward_pass and blockwise_fused_optimizers."""
    done = [0]

    def hook(parameter: torch.Tensor) -> None:
        accelerator.clip_grad_norm_(parameter, 1.0)
        if how == "fused":
            optimizer.step_param(parameter, group)
            parameter.grad = None
            return
        done[0] += 1
        if done[0] == len(group["params"]):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return hook


def half_step(name: str, arguments: list[str]) -> str:
    """Trained weights in fp16 with an optimizer of the engine."""
    layer = torch.nn.Linear(64, 64).to(torch.float16)
    optimizer = get_optimizer(name, arguments, list(layer.parameters()))
    for _ in range(5):
        (layer(torch.randn(16, 64, dtype=torch.float16)).float().pow(2).mean() * 1e-3).backward()
        optimizer.step()
        optimizer.zero_grad()
    return result(layer.parameters())


def two_rates(name: str, arguments: list[str]) -> str:
    """Two parameters with different learning rates."""
    layer = torch.nn.Linear(8, 8)
    groups = [{"params": [layer.weight], "lr": 1.0}, {"params": [layer.bias], "lr": 0.5}]
    optimizer = get_optimizer(name, arguments, groups)
    layer(torch.randn(4, 8)).pow(2).mean().backward()
    optimizer.step()
    return "trains"


def get_optimizer(name: str, arguments: list[str], parameters: Any) -> Any:
    options = argparse.Namespace(
        optimizer_type=name,
        optimizer_args=arguments,
        use_8bit_adam=False,
        use_lion_optimizer=False,
        learning_rate=1e-4,
        lr_scheduler="constant",
        lr_warmup_steps=0,
        max_grad_norm=1.0,
        fused_backward_pass=False,
        gradient_accumulation_steps=1,
    )
    optimizer = train_util.get_optimizer(options, parameters)[2]
    if hasattr(optimizer, "train"):
        optimizer.train()
    return optimizer


def tried(step: Callable[..., str], *values: Any, **named: Any) -> str:
    torch.manual_seed(0)
    try:
        return step(*values, **named)
    except (RuntimeError, ValueError, AttributeError, TypeError, NotImplementedError) as error:
        return f"{type(error).__name__}: {error}"


def main() -> None:
    asked = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    found = {}
    for name, arguments in NETWORKS.items():
        found[f"{name}, later"] = tried(network_step, "after", **arguments)
        found[f"{name}, first"] = tried(network_step, "before", **arguments)
        found[f"{name}, bypass"] = tried(network_step, "before", **arguments, bypass_mode="True")
    for dtype in ("float16", "float32"):
        for how in ("plain", "patched", "fused", "groups"):
            found[f"{dtype}, {how}"] = tried(scaled_step, getattr(torch, dtype), how)
    for name, (spelled, arguments) in asked.items():
        found[f"{name}, fp16"] = tried(half_step, spelled, arguments)
        found[f"{name}, two rates"] = tried(two_rates, spelled, arguments)
    Path(sys.argv[2]).write_text(json.dumps(found, indent=1), "utf-8")


if __name__ == "__main__":
    main()
