"""Builds optimizers as sd-scripts does. Run by that engine's own Python, through `trainer_core/install/inside/trial.py`.

Easel never imports this module: it imports the engine's library.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from typing import Any


def builder(path: str) -> Callable[[str, list[str], list[Any], float], Any]:
    """A function that builds an optimizer from an option and its arguments as the engine does. Source: library/train_util.py, get_optimizer."""
    sys.path.insert(0, path)
    train_util = importlib.import_module("library.train_util")
    parser = argparse.ArgumentParser()
    train_util.add_optimizer_arguments(parser)

    def build(spelled: str, arguments: list[str], parameters: list[Any], learning_rate: float) -> Any:
        options = parser.parse_args([])
        options.optimizer_type, options.optimizer_args = spelled, arguments
        options.learning_rate = learning_rate
        return train_util.get_optimizer(options, [{"params": parameters, "lr": learning_rate}])[2]

    return build
