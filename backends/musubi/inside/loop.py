"""The training loop of musubi-tuner, for a run that continues. Run by that engine's own Python, through `trainer_core/engines/inside/resume.py`.

Source: musubi-tuner 30c658c (Apache-2.0), whose passages are quoted here: training/trainer_base.py.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path
from typing import Any

MODULE = "musubi_tuner.training.trainer_base"
PASSAGES = {
    "global_step = 0\n": "global_step = easel_resume.step\n",
    "self.resume_from_local_or_hf_if_specified(accelerator, args)": (
        "easel_resume.load(self.resume_from_local_or_hf_if_specified, accelerator, args)"
    ),
    "self.get_lr_scheduler(args, optimizer, accelerator.num_processes)": (
        "easel_resume.scheduler(self.get_lr_scheduler, args, optimizer, accelerator.num_processes)"
    ),
    "tqdm(range(args.max_train_steps),": "tqdm(None, initial=easel_resume.step, total=args.max_train_steps,",
    # The samples before the first step, which would be taken for those of step 0.
    "if should_sample_images(args, global_step, epoch=0):": "if False:",
    "for epoch in range(epoch_to_start, num_train_epochs):": (
        "for epoch in range(easel_resume.first_epoch(train_dataloader, args), num_train_epochs):"
    ),
    "enumerate(train_dataloader)": "enumerate(easel_resume.rest(accelerator, train_dataloader, epoch))",
    # Its list of losses has an entry for each batch of the first epoch; a later epoch would fill it with zeros.
    "loss_recorder.add(epoch=epoch,": "loss_recorder.add(epoch=epoch - easel_resume.epoch,",
}
"""Passages of the module that are there exactly once, with their replacements."""


def patched(file: Path, resumed: Any) -> str:
    """The text of the module with its passages replaced.

    Raises:
        SystemExit: it is another version.
    """
    return resumed.patched(file, PASSAGES, "musubi-tuner")


def start(script: Path, resumed: Any) -> None:
    """Runs a program, for which the module with the training loop is imported before from its changed text."""
    spec = importlib.util.find_spec(MODULE)
    if spec is None or spec.origin is None:
        sys.exit(f"Easel cannot continue a training: there is no {MODULE}. Install the engine again.")
    code = compile(patched(Path(spec.origin), resumed), spec.origin, "exec")
    module = importlib.util.module_from_spec(spec)
    setattr(module, resumed.name, resumed)
    sys.modules[MODULE] = module
    exec(code, module.__dict__)  # noqa: S102 - the engine's own module, which this process was started to run
    runpy.run_path(str(script), run_name="__main__")
