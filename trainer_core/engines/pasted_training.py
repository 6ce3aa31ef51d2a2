"""What pasted commands say that trainers of one author have in common: optimizer, schedule, saves, length and sample prompts.

Source: sd-scripts, library/train_util.py; musubi-tuner, training/trainer_base.py and training/sampling_prompts.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainer_core import catalog
from trainer_core.engines import optimizer_arguments
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.pasted import Item, shown
from trainer_core.engines.pasted_options import Read, checked, direct, item, literal, of_type, pairs_in, refused, same
from trainer_core.errors import PlanError
from trainer_core.plan import fields

NO_OPTIMIZER = "it belongs to the optimizer of the text, which cannot be taken over."
PROMPT_KEYS: Mapping[Any, str] = {
    "prompt": "text",
    "sample_steps": "inference_steps",
    "scale": "guidance",
    "guidance_scale": "guidance",
    "cfg_scale": "guidance",
}
Reader = Callable[[Read, str, Any], Iterator[Item]]


def kept(read: Read, name: str, value: Any) -> Iterator[Item]:
    """Steps before the newest checkpoint as a number of checkpoints."""
    if name not in read.given:
        return
    every = read.value("save_every_n_steps") or 0
    if every and isinstance(value, int) and value > 1:
        yield from direct(read, name, "output.keep_last", -(-(value + 1) // every))
    elif value == 1:
        yield same(read, name, "checkpoints that only belong to a state are not kept.")
    else:
        yield refused(read, name, "it counts only with save_every_n_steps.")


def states(read: Read, name: str, value: Any) -> Iterator[Item]:
    """How many states are kept, of the steps after which they are removed."""
    if not value:
        return
    every, last = read.value("save_every_n_steps") or 0, read.given.get("save_last_n_steps_state")
    keep = max(1, int(last) // every - 1) if every and last else 1
    yield item(read, name, "setting", "output.keep_states", keep)


def states_kept(read: Read, name: str, _: Any) -> Iterator[Item]:
    """What is read together with save_state."""
    if name in read.given:
        yield same(read, name, "it is read together with save_state.")


def saved_every(read: Read, name: str, value: Any) -> Iterator[Item]:
    """The steps between checkpoints; an engine that saves states only removes the checkpoints."""
    if name not in read.given:
        return
    if read.value("save_last_n_steps") == 1 and read.value("save_state"):
        yield same(read, name, "it saves states only.")
    else:
        yield from direct(read, name, "output.save_every_steps", value)


def samples(read: Read, name: str, value: Any) -> Iterator[Item]:
    """The sample prompts in a file, as text or as a list in JSON."""
    if name not in read.given:
        return
    try:
        text = read.files.text(str(value))
        prompts = _prompts(text) if str(value).endswith(".json") else None
    except PlanError as error:
        yield refused(read, name, error.message)
        return
    if prompts is not None and len(prompts) == 1:
        # One prompt: its values are those of all samples.
        for key, each in prompts[0].items():
            yield from direct(read, name, f"sampling.{'prompt' if key == 'text' else key}", each)
        return
    lines = "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    found, problem = (
        fields.check("sampling.prompts", tuple(prompts)) if prompts else fields.from_text("sampling.prompts", lines)
    )
    if problem or not found:
        yield refused(read, name, problem or "It has no prompt.")
    else:
        yield item(read, name, "setting", "sampling.prompts", found)


def _prompts(text: str) -> list[dict[str, Any]] | None:
    """The prompts in a JSON list, with the names of Easel."""
    try:
        rows = json.loads(text)
        json.dumps(rows, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        # No JSON, or one with half of a character.
        return None
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and isinstance(row.get("prompt"), str) for row in rows
    ):
        return None
    known = fields.all_fields()
    named = [{PROMPT_KEYS.get(key, key): value for key, value in row.items()} for row in rows]
    return [{key: value for key, value in row.items() if key == "text" or f"sampling.{key}" in known} for row in named]


def epochs(path: str) -> Callable[[Read, str, Any], Iterator[Item]]:
    """The reader of an option that is counted in epochs."""

    def found(read: Read, name: str, value: Any) -> Iterator[Item]:
        if name in read.given:
            yield item(read, name, "epochs", path, value)

    return found


def read_already(read: Read, name: str, _: Any) -> Iterator[Item]:
    """A file whose options were read."""
    if name in read.given:
        yield same(read, name, "it was read.")


def steps(read: Read, name: str, value: Any) -> Iterator[Item]:
    """The length of the training, if it is not given in epochs."""
    if "max_train_epochs" not in read.given:
        yield from direct(read, name, "schedule.steps", value)
    elif name in read.given:
        yield same(read, name, "max_train_epochs counts.")


def _of_one(read: Read, value: Any) -> Any:
    """A number of steps of the schedule as one of the optimizer."""
    return round(value / read.processes) if isinstance(value, int) and not isinstance(value, bool) else value


@dataclass(frozen=True)
class OptimizerReader:
    """Reads the options of the optimizer and the schedule.

    `chosen` is Easel's name of the optimizer of a text, "" if it cannot be taken over. `follows` are the arguments that Easel gives to
    an optimizer, with their settings. Those in `warms_up_itself` take the warm-up as an argument.
    """

    chosen: Callable[[Read], str]
    follows: Callable[[str, BackendManifest], Mapping[str, tuple[str, ...]]]
    warms_up_itself: Collection[str]

    def arguments(self, read: Read, option: str, value: Any) -> Iterator[Item]:
        """What becomes of each argument of the optimizer."""
        name = self.chosen(read)
        if not name:
            if value:
                yield refused(read, option, NO_OPTIMIZER)
            return
        follows, pairs = self.follows(name, read.manifest), pairs_in(value)
        always = pairs_in(read.manifest.optimizer_arguments.get(name, ()))
        for key, text in pairs.items():
            paths = follows.get(key)
            if paths is None:
                yield Item(f"{option} {key}", text, "native", f"native.{read.manifest.id}.{option}.{key}", text)
            elif not paths:
                is_same = always.get(key) == text
                reason = "Easel sets it so." if is_same else f"Easel always sets it to {always.get(key)}."
                yield Item(f"{option} {key}", text, "same" if is_same else "refused", reason=reason)
            else:
                yield from self._argument(read, option, key, text, paths)
        if "weight_decay" not in pairs and (record := optimizer_arguments.recorded(read.manifest).get(name)):
            usual = float(record.takes.get("weight_decay", {}).get("default", 0.0))
            if usual != fields.all_fields()["optimizer.weight_decay"].default:
                yield Item(
                    f"{option} weight_decay", str(usual), "setting", "optimizer.weight_decay", usual, is_default=True
                )

    def _argument(self, read: Read, option: str, key: str, text: str, paths: tuple[str, ...]) -> Iterator[Item]:
        found = literal(text)
        if key != "betas":
            yield from checked(read, option, key, text, paths[0], of_type(paths[0], text))
        elif isinstance(found, tuple | list) and len(found) == len(paths):
            for path, beta in zip(paths, found, strict=True):
                yield from checked(read, option, key, text, path, beta)
        else:
            yield Item(
                f"{option} {key}", shown(text), "refused", reason=f"it must be {len(paths)} numbers in brackets."
            )

    def scheduler(self, read: Read, name: str, value: Any) -> Iterator[Item]:
        """The schedule of the learning rate."""
        found = next((own for own, spelled in read.manifest.schedulers.items() if spelled == value), None)
        if found is None:
            yield refused(read, name, "Easel does not know this schedule.")
            return
        warms_up = bool(read.value("lr_warmup_steps"))
        if found == "constant" and warms_up:
            found = "constant_with_warmup"
        yield from direct(read, name, "schedule.scheduler", found)

    def warmup(self, read: Read, name: str, value: Any) -> Iterator[Item]:
        """The warm-up in steps, or as a share of all steps."""
        if self.chosen(read) in self.warms_up_itself and "warmup_steps" in pairs_in(read.value("optimizer_args")):
            if name in read.given:
                yield same(read, name, "this optimizer warms up by itself: warmup_steps in optimizer_args counts.")
        elif isinstance(value, float) and 0 < value < 1:
            yield item(read, name, "share", "schedule.warmup_steps", value)
        else:
            yield from direct(read, name, "schedule.warmup_steps", _of_one(read, value))

    def of_schedule(self, setting: str) -> Callable[[Read, str, Any], Iterator[Item]]:
        """The reader of an option that only some schedules read."""

        def found(read: Read, name: str, value: Any) -> Iterator[Item]:
            spelled = read.value("lr_scheduler")
            chosen = next((own for own, each in read.manifest.schedulers.items() if each == spelled), "")
            if chosen in catalog.schedulers() and setting in catalog.schedulers()[chosen].settings:
                counts = setting in ("decay_steps", "timescale")
                yield from direct(read, name, f"schedule.{setting}", _of_one(read, value) if counts else value)
            elif name in read.given:
                yield same(read, name, "this schedule does not read it.")

        return found

    @property
    def special(self) -> Mapping[str, Reader]:
        """The reader of each option."""
        return {
            "lr_decay_steps": self.of_schedule("decay_steps"),
            "lr_scheduler": self.scheduler,
            "lr_scheduler_min_lr_ratio": self.of_schedule("min_rate_ratio"),
            "lr_scheduler_num_cycles": self.of_schedule("restarts"),
            "lr_scheduler_power": self.of_schedule("power"),
            "lr_scheduler_timescale": self.of_schedule("timescale"),
            "lr_warmup_steps": self.warmup,
            "optimizer_args": self.arguments,
        }


SPECIAL: Mapping[str, Reader] = {
    "dataset_config": read_already,
    "max_train_epochs": epochs("schedule.steps"),
    "max_train_steps": steps,
    "sample_every_n_epochs": epochs("sampling.every_steps"),
    "sample_prompts": samples,
    "save_every_n_epochs": epochs("output.save_every_steps"),
    "save_every_n_steps": saved_every,
    "save_last_n_steps": kept,
    "save_last_n_steps_state": states_kept,
    "save_state": states,
}
"""The options whose value has another form in a plan."""
