"""What a draft stands on: what the files and the machine say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer_core.hardware import Machine

if TYPE_CHECKING:
    from trainer_core.datasets.scan import Dataset
    from trainer_core.detection import Detection


@dataclass(frozen=True)
class Facts:
    """What the files and the machine say. Not a layer: a value that contradicts a fact is a Problem."""

    machine: Machine
    detection: Detection | None = None
    dataset: Dataset | None = None
    detection_error: str = ""
    """Why the model could not be recognised, when it could not."""
    dataset_error: str = ""
    """Why the dataset could not be scanned, when it could not."""
