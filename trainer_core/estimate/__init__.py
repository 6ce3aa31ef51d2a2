"""What a training will take, before it is started: steps, time, memory, disk, the size of its file, and what would fit.

numbers = estimate(plan, facts, past_runs(folder), manifest)
fit = against(numbers, machine)
fix = cheaper(plan, facts, problems, manifest=manifest)
"""

from trainer_core.estimate.cheaper import cheaper
from trainer_core.estimate.fit import Fit, against
from trainer_core.estimate.holders import Holder, gpu_processes
from trainer_core.estimate.past import Past, past_runs
from trainer_core.estimate.result import Estimate, epochs, estimate

__all__ = [
    "Estimate", "Fit", "Holder", "Past", "against", "cheaper", "epochs", "estimate", "gpu_processes", "past_runs",
]  # fmt: skip
