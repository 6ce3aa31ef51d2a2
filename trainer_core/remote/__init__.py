"""Training on other machines: where datasets and results are stored, and who trains. Not: preparing a run, or anything that a kernel imports at its start.

* `credentials`: keys and settings for buckets and endpoints, from the environment or a `.env` file
* `addresses` with `hosts`: every form of an S3 address
* `patience`: what is refused for now is asked again
* `storage`: buckets: lists, uploads and downloads that continue where they stopped
* `datasets`: the images and captions of a dataset in a bucket
* `styles`: the folders of styles with their selection sets and training versions, on a disk or in a bucket
* `machines`: what a machine that ssh reaches has, and what it lacks
* `runpod`: a client of RunPod's serverless endpoints, and the state of a remote run
* `runs`: remote runs, which are runs of this Easel whose engine is on another machine
* `training`: the training module of the document "LoRA Training Module", whose names can be imported from here
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer_core.remote.training.client import TrainingClient, train_actor, train_style
    from trainer_core.remote.training.hyperparams import Hyperparams, compute_hyperparams
    from trainer_core.remote.training.workflow import LoRATrainingWorkflow, load_workflow_template

_MODULES = {
    "Hyperparams": "hyperparams",
    "LoRATrainingWorkflow": "workflow",
    "TrainingClient": "client",
    "compute_hyperparams": "hyperparams",
    "load_workflow_template": "workflow",
    "train_actor": "client",
    "train_style": "client",
}
"""The module in `training` that has each name. It is imported when the name is first used: most of the room needs none of them."""

__all__ = [
    "Hyperparams",
    "LoRATrainingWorkflow",
    "TrainingClient",
    "compute_hyperparams",
    "load_workflow_template",
    "train_actor",
    "train_style",
]


def __getattr__(name: str) -> Any:
    """A name of the training module."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.training.{_MODULES[name]}"), name)
