"""What a draft stands on: what the files and the machine say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trainer_core.hardware import Machine

if TYPE_CHECKING:
    from trainer_core.datasets.scan import Dataset
    from trainer_core.detection import Detection
    from trainer_core.library import PartsFound


@dataclass(frozen=True)
class Facts:
    """What the files and the machine say. Not a layer: a value that contradicts a fact is a Problem."""

    machine: Machine
    detection: Detection | None = None
    dataset: Dataset | None = None
    detection_error: str = ""
    """Why the model could not be recognised, when it could not."""
    parts: Mapping[str, Detection | str] = field(default_factory=dict)
    """What the files named beside the model are, by the name of their setting; text says why one cannot be told."""
    beside: PartsFound | None = None
    """What the library has of the files that the model needs beside it; None where it was not asked."""
    dataset_error: str = ""
    """Why the dataset could not be scanned, when it could not."""


def zero_terminal_snr(family: str, detection: Detection | None) -> bool:
    """Whether a v-prediction model of a family was trained with noise up to pure noise, as its file says or as is usual.

    Source: Stable Diffusion 2.1 was trained with plain noise; NoobAI and all published recipes for SDXL set both.
    """
    said = detection.zero_terminal_snr if detection else None
    return family != "sd2" if said is None else said
