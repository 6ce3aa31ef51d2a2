"""The types of settings whose choices are the entries of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trainer_core import catalog

if TYPE_CHECKING:
    OptimizerName = str
    SchedulerName = str
    AlgorithmName = str
else:
    OptimizerName = Literal[tuple(catalog.optimizers())]
    SchedulerName = Literal[tuple(catalog.schedulers())]
    AlgorithmName = Literal[tuple(catalog.algorithms())]

NOISE = ("", "epsilon", "v_prediction")
"""The prediction types of noise-based models, "" if unknown. Source: Hang et al. 2023, Min-SNR, defines its weights for these."""
