"""Builds optimizers as SimpleTuner does. Run by that engine's own Python, through `trainer_core/install/inside/trial.py`.

Easel never imports this module: it imports the engine's library.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Any


def builder(_path: str | None) -> Callable[[str, list[str], list[Any], float], Any]:
    """A function that builds an optimizer from an option and its arguments as the engine does.

    Source: simpletuner/helpers/training/optimizer_param.py, and trainer.py, init_optimizer.
    """
    table = importlib.import_module("simpletuner.helpers.training.optimizer_param")

    def build(spelled: str, arguments: list[str], parameters: list[Any], learning_rate: float) -> Any:
        options = argparse.Namespace(
            optimizer=spelled,
            optimizer_config=",".join(arguments),
            optimizer_beta1=None,
            optimizer_beta2=None,
            optimizer_release_gradients=False,
            prodigy_steps=None,
            lr_warmup_steps=0,
        )
        settings, kind = table.determine_optimizer_class_with_config(options, False, False, False)
        settings = {"lr": learning_rate, **settings}
        optimizer = table.cpu_offload_optimizer(parameters, kind, settings, offload_mechanism="none")
        if table.is_lr_schedulefree(spelled):
            optimizer.train()
        return optimizer

    return build
