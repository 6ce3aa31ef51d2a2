"""Estimates of a training before it starts: steps, time, memory, disk space, file size. It does not measure running trainings.

numbers = estimate(plan, facts, past_runs(folder), manifest)
fit = against(numbers, machine)
fix = fit_advice(plan, facts, problems, manifest=manifest)
"""

from trainer_core.estimate.fit import Fit, against
from trainer_core.estimate.fit_advice import fit_advice
from trainer_core.estimate.gpu_processes import GpuProcess, find_gpu_processes
from trainer_core.estimate.past import Past, past_runs
from trainer_core.estimate.result import Estimate, estimate

__all__ = [
    "Estimate",
    "Fit",
    "GpuProcess",
    "Past",
    "against",
    "estimate",
    "find_gpu_processes",
    "fit_advice",
    "past_runs",
]  # fmt: skip
