"""Training on other machines: where datasets and results are stored, and who trains. Not: preparing a run, or anything that a kernel imports at its start.

* `credentials`: keys and settings for buckets and endpoints, from the environment or a `.env` file
* `addresses` with `hosts`: every form of an S3 address
* `patience`: what is refused for now is asked again
* `storage`: buckets: lists, uploads and downloads that continue where they stopped
* `datasets`: the images and captions of a dataset in a bucket
* `styles`: the folders of styles with their selection sets and training versions, on a disk or in a bucket
* `machines`: what a machine that ssh reaches has, and what it lacks
* `export`: plans as tasks of other schedulers
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
