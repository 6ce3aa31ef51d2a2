"""Runs a training script of sd-scripts so that it continues at the step of a saved state. Run by that engine's own Python.

    python resume.py --script <checkout>/train_network.py --step 40 --schedule-from 0 -- <the script's own arguments>

With its own option --resume the engine loads weights, optimizer, schedule and random numbers, but counts steps and epochs
from 0 again and trains too many of them. The count that is right comes from Easel. This program replaces a few passages of
the script's text in memory; the files of the engine are not changed. If a passage is not there exactly as often as it
should be, the script is another version, and nothing is trained.

Standard library only, until the script is run; imports nothing of Easel.
Source: sd-scripts 48d368f (Apache-2.0), whose passages are quoted here: train_network.py and the scripts in the same folder.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import math
import random
import runpy
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NAME = "easel_resume"
"""The name of the object below in the namespace of the script."""
ONCE = (
    ("global_step = 0\n", f"global_step = {NAME}.step\n"),
    (
        "train_util.resume_from_local_or_hf_if_specified(accelerator, args)",
        f"{NAME}.load(train_util, accelerator, args)",
    ),
)
"""Passages of every script, with their replacements: the step from which the steps are counted, and the loading."""
OFTEN = (("train_util.get_scheduler_fix(", f"{NAME}.scheduler(train_util, "),)
"""Passages that are there once or several times: the schedule of each optimizer."""
BAR = f"None, initial={NAME}.step, total=args.max_train_steps,"
EPOCHS = f"for epoch in range({NAME}.first_epoch(train_dataloader, args), num_train_epochs):"
BATCHES = f"enumerate({NAME}.rest(accelerator, train_dataloader, epoch))"
PLAIN = (
    ("range(args.max_train_steps),", BAR),
    ("for epoch in range(num_train_epochs):", EPOCHS),
    ("enumerate(train_dataloader)", BATCHES),
)
"""The progress bar, the epochs and the batches of an epoch, in the scripts that cannot skip any."""
SKIPPING = (
    ("range(args.max_train_steps - initial_step),", BAR),
    ("for epoch in range(epoch_to_start, num_train_epochs):", EPOCHS),
    ("enumerate(skipped_dataloader or train_dataloader)", BATCHES),
)
"""The same in train_network.py, which skips steps, but counts them wrongly with gradient accumulation or in a later epoch."""
SHARED = ("train_network", "train_textual_inversion")
"""Modules with the training loop of several scripts, whose names end with that of the module."""


class Resumed:
    """What the replaced passages call. Steps are optimizer steps."""

    def __init__(self, step: int, schedule_from: int, rate_times: float = 1.0) -> None:
        self.step, self.schedule_from, self.rate_times = step, schedule_from, rate_times
        self._epoch = self._skipped = 0
        self._schedules: list[Any] = []

    def scheduler(self, train_util: Any, args: Any, optimizer: Any, num_processes: int) -> Any:
        """The schedule over the steps that it is for: all of them, or those by which a run was extended."""
        planned = args.max_train_steps
        args.max_train_steps = planned - self.schedule_from
        try:
            found = train_util.get_scheduler_fix(args, optimizer, num_processes)
        finally:
            args.max_train_steps = planned
        self._schedules.append(found)
        return found

    def load(self, train_util: Any, accelerator: Any, args: Any) -> None:
        """Loads the state; without that of the schedule if a new one starts at this step."""
        # An optimizer without a schedule has a stand-in that has no state.
        starting = [each for each in self._schedules if self.schedule_from == self.step and hasattr(each, "state_dict")]
        before = [copy.deepcopy(each.state_dict()) for each in starting]
        train_util.resume_from_local_or_hf_if_specified(accelerator, args)
        for schedule, state in zip(starting, before, strict=True):
            schedule.load_state_dict(state)
            # The state of the optimizer has the last learning rate of the schedule before.
            for group, rate in zip(schedule.optimizer.param_groups, schedule.get_last_lr(), strict=True):
                group["lr"] = rate
        for schedule in self._schedules if self.rate_times != 1 else ():
            self._scale(schedule)

    def _scale(self, schedule: Any) -> None:
        """Multiplies the learning rates of a schedule and its optimizer, as the state has them."""
        if hasattr(schedule, "base_lrs"):
            schedule.base_lrs = [rate * self.rate_times for rate in schedule.base_lrs]
        for group in schedule.optimizer.param_groups:
            for name in ("lr", "initial_lr"):
                if name in group:
                    group[name] *= self.rate_times

    def first_epoch(self, dataloader: Any, args: Any) -> int:
        """The epoch, counted from 0, of the next step; also notes how many batches of it were trained before.

        An optimizer step takes `gradient_accumulation_steps` batches, but the last one of an epoch only what is left.
        """
        together = args.gradient_accumulation_steps
        self._epoch, steps = divmod(self.step, math.ceil(len(dataloader) / together))
        self._skipped = steps * together
        print(f"Easel: continuing after step {self.step}, at batch {self._skipped + 1} of epoch {self._epoch + 1}")
        return self._epoch

    def rest(self, accelerator: Any, dataloader: Any, epoch: int) -> Iterable[Any]:
        """The batches of an epoch, in the first one without those that were trained before."""
        if epoch != self._epoch:
            return dataloader
        if dataloader.num_workers == 0:
            # The images of a bucket are shuffled for each epoch, from the first on; the engine does it after the first batch.
            before = random.getstate()
            with contextlib.redirect_stdout(sys.stderr):
                dataloader.dataset.set_current_epoch(epoch + bool(self._skipped))
            random.setstate(before)
        return accelerator.skip_first_batches(dataloader, self._skipped) if self._skipped else dataloader


def patched(text: str, name: str) -> str:
    """The text of a script with its passages replaced.

    Raises:
        SystemExit: a passage is missing, or there are more of them than expected.
    """
    others = SKIPPING if name == "train_network" else PLAIN
    for passage, replacement in (*ONCE, *others, *OFTEN):
        found = text.count(passage)
        if found != 1 and not (found and (passage, replacement) in OFTEN):
            sys.exit(
                f"Easel cannot continue a training with this version of sd-scripts: {passage.strip()!r} is in {name}.py "
                f"{found} times, not once. Nothing was trained. Install the version that Easel is made for."
            )
        text = text.replace(passage, replacement)
    return text


def main(arguments: list[str]) -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--step", type=int, required=True)
    parser.add_argument("--schedule-from", type=int, default=0)
    parser.add_argument("--rate-times", type=float, default=1.0)
    own, given = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    chosen = parser.parse_args(own)
    script: Path = chosen.script
    shared = next((name for name in SHARED if script.stem.endswith(name)), script.stem)
    file = script.with_name(f"{shared}.py")
    code = compile(patched(file.read_text(encoding="utf-8"), shared), str(file), "exec")
    sys.path[0], sys.argv = str(script.parent), [str(script), *given]
    is_script = shared == script.stem
    module = types.ModuleType("__main__" if is_script else shared)
    module.__file__ = str(file)
    setattr(module, NAME, Resumed(chosen.step, chosen.schedule_from, chosen.rate_times))
    sys.modules[module.__name__] = module
    exec(code, module.__dict__)  # noqa: S102 - the engine's own script, which this process was started to run
    if not is_script:
        runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
