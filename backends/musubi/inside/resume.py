"""Runs a training program of musubi-tuner so that it continues at the step of a saved state. Run by that engine's own Python.

    python resume.py --script <checkout>/src/musubi_tuner/qwen_image_train_network.py --step 40 -- <the script's own arguments>

With its own option --resume the engine loads weights, optimizer, schedule and random numbers, but counts steps and epochs from 0
again, trains too many of them, and writes files under names that are already there. The count that is right comes from Easel.
This program replaces a few passages of the module with the training loop in memory; the files of the engine are not changed. If a
passage is not there exactly once, the engine is another version, and nothing is trained.

Standard library only, until the engine is imported; imports nothing of Easel.
Source: musubi-tuner 30c658c (Apache-2.0), whose passages are quoted here: training/trainer_base.py.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.util
import math
import runpy
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NAME = "easel_resume"
"""The name of the object below in the namespace of the module."""
MODULE = "musubi_tuner.training.trainer_base"
PASSAGES = (
    ("global_step = 0\n", f"global_step = {NAME}.step\n"),
    (
        "self.resume_from_local_or_hf_if_specified(accelerator, args)",
        f"{NAME}.load(self, accelerator, args)",
    ),
    (
        "self.get_lr_scheduler(args, optimizer, accelerator.num_processes)",
        f"{NAME}.scheduler(self, args, optimizer, accelerator.num_processes)",
    ),
    ("tqdm(range(args.max_train_steps),", f"tqdm(None, initial={NAME}.step, total=args.max_train_steps,"),
    # The samples before the first step, which would be taken for those of step 0.
    ("if should_sample_images(args, global_step, epoch=0):", "if False:"),
    (
        "for epoch in range(epoch_to_start, num_train_epochs):",
        f"for epoch in range({NAME}.first_epoch(train_dataloader, args), num_train_epochs):",
    ),
    ("enumerate(train_dataloader)", f"enumerate({NAME}.rest(accelerator, train_dataloader, epoch))"),
    # Its list of losses has an entry for each batch of the first epoch; a later epoch would fill it with zeros.
    ("loss_recorder.add(epoch=epoch,", f"loss_recorder.add(epoch=epoch - {NAME}.epoch,"),
)
"""Passages of the module that are there exactly once, with their replacements."""


class Resumed:
    """What the replaced passages call. Steps are optimizer steps."""

    def __init__(self, step: int, schedule_from: int, rate_times: float = 1.0) -> None:
        self.step, self.schedule_from, self.rate_times = step, schedule_from, rate_times
        self.epoch = self._skipped = 0
        self._schedules: list[Any] = []

    def scheduler(self, trainer: Any, args: Any, optimizer: Any, num_processes: int) -> Any:
        """The schedule over the steps that it is for: all of them, or those by which a run was extended."""
        planned = args.max_train_steps
        args.max_train_steps = planned - self.schedule_from
        try:
            found = trainer.get_lr_scheduler(args, optimizer, num_processes)
        finally:
            args.max_train_steps = planned
        self._schedules.append(found)
        return found

    def load(self, trainer: Any, accelerator: Any, args: Any) -> None:
        """Loads the state; without that of the schedule if a new one starts at this step."""
        # An optimizer without a schedule has a stand-in that has no state.
        starting = [each for each in self._schedules if self.schedule_from == self.step and hasattr(each, "state_dict")]
        before = [copy.deepcopy(each.state_dict()) for each in starting]
        trainer.resume_from_local_or_hf_if_specified(accelerator, args)
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
        self.epoch, steps = divmod(self.step, math.ceil(len(dataloader) / together))
        self._skipped = steps * together
        print(f"Easel: continuing after step {self.step}, at batch {self._skipped + 1} of epoch {self.epoch + 1}")
        return self.epoch

    def rest(self, accelerator: Any, dataloader: Any, epoch: int) -> Iterable[Any]:
        """The batches of an epoch, in the first one without those that were trained before."""
        if epoch != self.epoch or not self._skipped:
            return dataloader
        return accelerator.skip_first_batches(dataloader, self._skipped)


def patched(text: str) -> str:
    """The text of the module with its passages replaced.

    Raises:
        SystemExit: a passage is missing, or there are more of them than expected.
    """
    for passage, replacement in PASSAGES:
        found = text.count(passage)
        if found != 1:
            sys.exit(
                f"Easel cannot continue a training with this version of musubi-tuner: {passage.strip()!r} is in "
                f"trainer_base.py {found} times, not once. Nothing was trained. Install the version that Easel is made for."
            )
        text = text.replace(passage, replacement)
    return text


def load_patched(resumed: Resumed) -> None:
    """Imports the module with the training loop from its changed text, before any program imports it."""
    spec = importlib.util.find_spec(MODULE)
    if spec is None or spec.origin is None:
        sys.exit(f"Easel cannot continue a training: there is no {MODULE}. Install the engine again.")
    code = compile(patched(Path(spec.origin).read_text(encoding="utf-8")), spec.origin, "exec")
    module = importlib.util.module_from_spec(spec)
    setattr(module, NAME, resumed)
    sys.modules[MODULE] = module
    exec(code, module.__dict__)  # noqa: S102 - the engine's own module, which this process was started to run


def main(arguments: list[str]) -> None:
    """Runs the program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--step", type=int, required=True)
    parser.add_argument("--schedule-from", type=int, default=0)
    parser.add_argument("--rate-times", type=float, default=1.0)
    own, given = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    chosen = parser.parse_args(own)
    sys.path[0], sys.argv = str(chosen.script.parent), [str(chosen.script), *given]
    load_patched(Resumed(chosen.step, chosen.schedule_from, chosen.rate_times))
    runpy.run_path(str(chosen.script), run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
