"""The training loops of sd-scripts, for a run that continues. Run by that engine's own Python, through `trainer_core/engines/inside/resume.py`.

Source: sd-scripts 48d368f (Apache-2.0), whose passages are quoted here: train_network.py and the scripts in the same folder.
"""

from __future__ import annotations

import contextlib
import random
import runpy
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

OFTEN = "train_util.get_scheduler_fix("
"""The passage that is there once or several times: the schedule of each optimizer."""
EVERYWHERE = {
    "global_step = 0\n": "global_step = easel_resume.step\n",
    "train_util.resume_from_local_or_hf_if_specified(accelerator, args)": (
        "easel_resume.load(train_util.resume_from_local_or_hf_if_specified, accelerator, args)"
    ),
    OFTEN: "easel_resume.scheduler(train_util.get_scheduler_fix, ",
}
"""Passages of every script, with their replacements: the step from which the steps are counted, the loading, and the schedules."""
BAR = "None, initial=easel_resume.step, total=args.max_train_steps,"
EPOCHS = "for epoch in range(easel_resume.first_epoch(train_dataloader, args), num_train_epochs):"
BATCHES = "enumerate(easel_rest(easel_resume, accelerator, train_dataloader, epoch))"
PLAIN = {
    "range(args.max_train_steps),": BAR,
    "for epoch in range(num_train_epochs):": EPOCHS,
    "enumerate(train_dataloader)": BATCHES,
}
"""The progress bar, the epochs and the batches of an epoch, in the scripts that cannot skip any."""
SKIPPING = {
    "range(args.max_train_steps - initial_step),": BAR,
    "for epoch in range(epoch_to_start, num_train_epochs):": EPOCHS,
    "enumerate(skipped_dataloader or train_dataloader)": BATCHES,
}
"""The same in train_network.py, which skips steps, but counts them wrongly with gradient accumulation or in a later epoch."""
SHARED = ("train_network", "train_textual_inversion")
"""Modules with the training loop of several scripts, whose names end with that of the module."""


def file_of(script: Path) -> Path:
    """The file with the training loop of a script."""
    shared = next((name for name in SHARED if script.stem.endswith(name)), script.stem)
    return script.with_name(f"{shared}.py")


def patched(file: Path, resumed: Any) -> str:
    """The text of a file with its passages replaced.

    Raises:
        SystemExit: it is another version.
    """
    passages = {**EVERYWHERE, **(SKIPPING if file.stem == "train_network" else PLAIN)}
    return resumed.patched(file, passages, "sd-scripts", several=(OFTEN,))


def rest(resumed: Any, accelerator: Any, dataloader: Any, epoch: int) -> Iterable[Any]:
    """The batches of an epoch that are left, in the order that the engine would have drawn for it."""
    if epoch == resumed.epoch and dataloader.num_workers == 0:
        # The images of a bucket are shuffled for each epoch, from the first on; the engine does it after the first batch.
        before = random.getstate()
        with contextlib.redirect_stdout(sys.stderr):
            dataloader.dataset.set_current_epoch(epoch + bool(resumed.skipped))
        random.setstate(before)
    return resumed.rest(accelerator, dataloader, epoch)


def start(script: Path, resumed: Any) -> None:
    """Runs a script."""
    file = file_of(script)
    code = compile(patched(file, resumed), str(file), "exec")
    is_script = file == script
    module = types.ModuleType("__main__" if is_script else file.stem)
    module.__file__ = str(file)
    vars(module).update({resumed.name: resumed, "easel_rest": rest})
    sys.modules[module.__name__] = module
    exec(code, module.__dict__)  # noqa: S102 - the engine's own script, which this process was started to run
    if not is_script:
        runpy.run_path(str(script), run_name="__main__")
