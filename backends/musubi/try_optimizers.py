"""Builds optimizers as musubi-tuner does. Run by that engine's own Python, through `trainer_core/install/inside/trial.py`.

Easel never imports this module: it imports the engine's library.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def builder(path: str) -> Callable[[str, list[str], list[Any], float], Any]:
    """A function that builds an optimizer from an option and its arguments as the engine does. Source: training/trainer_base.py, get_optimizer."""
    sys.path.insert(0, str(Path(path) / "src"))
    trainer = importlib.import_module("musubi_tuner.training.trainer_base").NetworkTrainer()

    def build(spelled: str, arguments: list[str], parameters: list[Any], learning_rate: float) -> Any:
        options = argparse.Namespace(
            optimizer_type=spelled,
            optimizer_args=arguments,
            learning_rate=learning_rate,
            max_grad_norm=1.0,
            lr_scheduler="constant",
        )
        _, _, optimizer, train, _ = trainer.get_optimizer(options, [{"params": parameters, "lr": learning_rate}])
        train()
        return optimizer

    return build
