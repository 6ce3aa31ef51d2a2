"""Runs an engine's program so that it continues at the step of a saved state. Run as a file by that engine's own Python.

    python resume.py --loop /…/loop.py --script /…/train_network.py --step 40 --schedule-from 0 -- <the program's own arguments>

With their own option --resume these engines load weights, optimizer, schedule and random numbers, but count steps and epochs
from 0 again, train too many of them, and write files under names that are already there. The count that is right comes from
Easel. A few passages of the training loop are replaced in memory; the files of the engine are not changed. If a passage is not
there exactly as often as it should be, the engine is another version, and nothing is trained.

The engine's `loop.py` has `start(script, resumed)`, which runs the program with its passages replaced by `patched`, so that they
call the methods of `resumed` under the name `NAME`. Standard library only, until the engine's program is run; imports nothing of Easel.
"""

from __future__ import annotations

import argparse
import copy
import math
import runpy
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

NAME = "easel_resume"
"""The name of the object below in the namespace of the training loop."""


class Resumed:
    """What the replaced passages call. Steps are optimizer steps.

    `epoch` is the epoch of the next step, counted from 0, and `skipped` the batches of it that were trained before.
    """

    name = NAME

    def __init__(self, step: int, schedule_from: int, rate_times: float = 1.0) -> None:
        self.step, self.schedule_from, self.rate_times = step, schedule_from, rate_times
        self.epoch = self.skipped = 0
        self._schedules: list[Any] = []

    def scheduler(self, make: Callable[..., Any], args: Any, optimizer: Any, num_processes: int) -> Any:
        """The schedule over the steps that it is for: all of them, or those by which a run was extended."""
        planned = args.max_train_steps
        args.max_train_steps = planned - self.schedule_from
        try:
            found = make(args, optimizer, num_processes)
        finally:
            args.max_train_steps = planned
        self._schedules.append(found)
        return found

    def load(self, load: Callable[..., None], accelerator: Any, args: Any) -> None:
        """Loads the state; without that of the schedule if a new one starts at this step."""
        # An optimizer without a schedule has a stand-in that has no state.
        starting = [each for each in self._schedules if self.schedule_from == self.step and hasattr(each, "state_dict")]
        before = [copy.deepcopy(each.state_dict()) for each in starting]
        load(accelerator, args)
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
        """The epoch of the next step; also notes how many batches of it were trained before.

        An optimizer step takes `gradient_accumulation_steps` batches, but the last one of an epoch only what is left.
        """
        together = args.gradient_accumulation_steps
        self.epoch, steps = divmod(self.step, math.ceil(len(dataloader) / together))
        self.skipped = steps * together
        print(f"Easel: continuing after step {self.step}, at batch {self.skipped + 1} of epoch {self.epoch + 1}")
        return self.epoch

    def rest(self, accelerator: Any, dataloader: Any, epoch: int) -> Iterable[Any]:
        """The batches of an epoch, in the first one without those that were trained before."""
        if epoch != self.epoch or not self.skipped:
            return dataloader
        return accelerator.skip_first_batches(dataloader, self.skipped)

    def patched(self, file: Path, passages: Mapping[str, str], engine: str, several: Sequence[str] = ()) -> str:
        """The text of an engine's file with its passages replaced; those in `several` may be there more than once.

        Raises:
            SystemExit: a passage is missing, or there are more of them than expected.
        """
        text = file.read_text(encoding="utf-8")
        for passage, replacement in passages.items():
            found = text.count(passage)
            if found != 1 and not (found and passage in several):
                sys.exit(
                    f"Easel cannot continue a training with this version of {engine}: {passage.strip()!r} is in {file.name} "
                    f"{found} times, not once. Nothing was trained. Install the version that Easel is made for."
                )
            text = text.replace(passage, replacement)
        return text


def main(arguments: list[str]) -> None:
    """Runs the program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", type=Path, required=True)
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--step", type=int, required=True)
    parser.add_argument("--schedule-from", type=int, default=0)
    parser.add_argument("--rate-times", type=float, default=1.0)
    own, given = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    chosen = parser.parse_args(own)
    sys.path[0], sys.argv = str(chosen.script.parent), [str(chosen.script), *given]
    start = runpy.run_path(str(chosen.loop))["start"]
    start(chosen.script, Resumed(chosen.step, chosen.schedule_from, chosen.rate_times))


if __name__ == "__main__":
    main(sys.argv[1:])
