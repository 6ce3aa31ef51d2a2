"""Training on other machines: where datasets and results are stored, and who trains. Not: a training on this machine.

* `credentials`: keys and settings for buckets and endpoints, from the environment or a `.env` file
* `addresses`: every form of an address of S3
* `runpod`: a client of RunPod's serverless endpoints, and the state of a remote run
* `training`: the training module of the document "LoRA Training Module", whose names can be imported from here
"""

from trainer_core.remote.training.client import TrainingClient, train_actor, train_style
from trainer_core.remote.training.hyperparams import Hyperparams, compute_hyperparams
from trainer_core.remote.training.workflow import LoRATrainingWorkflow, load_workflow_template

__all__ = [
    "Hyperparams",
    "LoRATrainingWorkflow",
    "TrainingClient",
    "compute_hyperparams",
    "load_workflow_template",
    "train_actor",
    "train_style",
]
