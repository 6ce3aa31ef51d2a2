"""Maps a workflow of ComfyUI-FluxTrainer onto the settings of a plan, by the table in `workflow.toml`.

Every input of every node that ComfyUI would run becomes a value of the plan, or a note that says why it has no effect, or the workflow
is refused with the node and the input.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core import catalog
from trainer_core.datasets import buckets
from trainer_core.errors import RemoteError
from trainer_core.files import read_toml
from trainer_core.plan import fields
from trainer_core.remote.training import checking
from trainer_core.remote.worker import passes
from trainer_core.text import printable

START, DATASET = "InitFluxLoRATraining", "TrainDatasetAdd"
ONE_OF_EACH = frozenset(
    {START, DATASET, "TrainDatasetGeneralConfig", "FluxTrainModelSelect", "FluxTrainAndValidateLoop"}
)
"""Classes of which a workflow has one node, because a second one would be a second training or dataset."""
_FORMS = frozenset({"setting", "sets", "native", "file", "link", "only", "no_effect", "read"})
_WHOLE = ("refused", "always")
"""What a table can have beside the rows of inputs."""


@dataclass(frozen=True)
class Mapped:
    """What a workflow asks for. `values` are settings by path, `native` options of the engine, `files` names of model files by setting.

    `token` is the trigger token that stands in each caption, `notes` are sentences about inputs without effect, and `sources` says
    for each setting, and for each option as "native.<option>", which input it comes from.
    """

    values: Mapping[str, Any]
    native: Mapping[str, Any]
    files: Mapping[str, str]
    token: str
    notes: tuple[str, ...]
    sources: Mapping[str, str]

    def where(self, path: str) -> str:
        """The node and the input that a setting or a native option (with the engine before it or not) comes from; "" if none."""
        parts = path.split(".")
        plain = f"native.{parts[-1]}" if parts[0] == "native" else path
        return self.sources.get(plain, "")


@functools.cache
def table() -> Mapping[str, Mapping[str, Any]]:
    """The rows of `workflow.toml` by class and input; the forms of the rows are checked."""
    found = read_toml(Path(__file__).with_name("workflow.toml"), RemoteError)
    for kind, rows in found.items():
        for name, row in rows.items():
            assert name in _WHOLE or len(_FORMS & row.keys()) == 1, f"{kind}.{name} has no form, or several"
    return found


def mapped(workflow: Any) -> Mapped:
    """What a workflow asks for.

    Raises:
        RemoteError: it is no workflow that a worker can train; the message has every reason, each with its node and input.
    """
    if found := checking.problems(workflow):
        raise _refusal(found)
    work = _Work(workflow)
    for name in work.used:
        work.take(name)
    work.take_whole()
    if work.refused:
        raise _refusal(work.refused)
    unused = [f"{work.label(name)} has no effect: no output needs it." for name in workflow if name not in work.used]
    return Mapped(work.values, work.native, work.files, work.token, (*work.notes, *unused), work.sources)


def _refusal(sentences: list[str]) -> RemoteError:
    return RemoteError(" ".join(sentences), "", "content")


@dataclass
class _Work:
    """A workflow that is being mapped."""

    workflow: Mapping[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    native: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    token: str = ""
    notes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)

    @functools.cached_property
    def used(self) -> list[str]:
        """The ids of the nodes that ComfyUI would run, in the order of the workflow."""
        needed = checking.needed(self.workflow)
        return [name for name in self.workflow if name in needed]

    def of(self, *kinds: str) -> list[str]:
        """The used nodes of some classes."""
        return [name for name in self.used if self.workflow[name]["class_type"] in kinds]

    def label(self, name: str) -> str:
        return f"Node {printable(name, 40)} ({self.workflow[name]['class_type']})"

    def inputs(self, name: str) -> dict[str, Any]:
        """The inputs of a node, with the node's own defaults for those that are left out."""
        node = self.workflow[name]
        declared = checking.nodes()[node["class_type"]]["inputs"]
        defaults = {key: about["default"] for key, about in declared.items() if "default" in about}
        return {**{key: value for key, value in defaults.items() if not declared[key]["required"]}, **node["inputs"]}

    # ---- one node ----
    def take(self, name: str) -> None:
        """Takes over every input of a node, by its rows."""
        kind = self.workflow[name]["class_type"]
        rows = table()[kind]
        if reason := rows.get("refused"):
            self.refused.append(f"{self.label(name)} cannot be used: {reason}")
            return
        if kind in ONE_OF_EACH and len(self.of(kind)) > 1 and name != self.of(kind)[0]:
            self.refused.append(
                f"{self.label(name)} is the second node of its class, and a request trains one LoRA on one dataset."
            )
            return
        for path, value in rows.get("always", {}).items():
            self._set(path, value, self.label(name))
        given = self.inputs(name)
        for key, value in given.items():
            self._take_input(f"{self.label(name)}: {key}", rows[key], value, given)

    def _take_input(self, where: str, row: Mapping[str, Any], value: Any, given: Mapping[str, Any]) -> None:
        if "link" in row or "read" in row:
            return
        if "no_effect" in row:
            self.notes.append(f"{where} has no effect: {row['no_effect']}")
            return
        if isinstance(value, list | tuple):
            self.refused.append(f"{where} comes from another node, and a worker needs the value itself.")
            return
        if not _counts(row, given):
            others = ", ".join(f"{key} {' or '.join(map(str, wanted))}" for key, wanted in row["only_with"].items())
            self.notes.append(f"{where} has no effect: it is read only with {others}.")
            return
        self._take_value(where, row, value)

    def _take_value(self, where: str, row: Mapping[str, Any], value: Any) -> None:
        if "only" in row:
            if not any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in row["only"]):
                wanted = " or ".join("empty" if each == "" else _shown(each) for each in row["only"])
                self.refused.append(f"{where} is {_shown(value)}, but must be {wanted}: {row['because']}")
        elif "file" in row:
            self.files[row["file"]] = value
            self.sources[row["file"]] = where
        elif "native" in row:
            self._take_native(where, row, value)
        elif (choices := row.get("values", row.get("sets"))) is not None and value not in choices:
            self.refused.append(f"{where} is {_shown(value)}, and a worker can train only with {', '.join(choices)}.")
        elif "sets" in row:
            for path, each in row["sets"][value].items():
                self._set(path, each, where)
        else:
            self._set(row["setting"], row["values"][value] if "values" in row else value, where)

    def _take_native(self, where: str, row: Mapping[str, Any], value: Any) -> None:
        name = row["native"]
        self.sources[f"native.{name}"] = where
        if "left_out" not in row or value != row["left_out"]:
            mark = row.get("split")
            self.native[name] = [part.strip() for part in value.split(mark) if part.strip()] if mark else value

    def _set(self, path: str, value: Any, where: str) -> None:
        value, reason = fields.check(path, value)
        if reason:
            self.refused.append(f"{where}: {reason}")
        elif path in self.values and self.values[path] != value:
            self.refused.append(f"{where} is {_shown(value)}, and {self.sources[path]} is {_shown(self.values[path])}.")
        else:
            self.values[path] = value
            self.sources[path] = where

    # ---- what depends on several nodes ----
    def take_whole(self) -> None:
        """Takes over what depends on more than one input."""
        if not self.of(START):
            # Its class has its own reason.
            return
        self._take_images()
        self._take_passes()
        optimizer = catalog.optimizers().get(self.values.get("optimizer.name", ""))
        if optimizer and "weight_decay" in optimizer.settings:
            # The nodes leave it to the optimizer, whose default differs from that of a plan.
            self.values.setdefault("optimizer.weight_decay", optimizer.settings["weight_decay"])

    def _take_images(self) -> None:
        for name in self.of(DATASET):
            given, label = self.inputs(name), self.label(name)
            if given["height"] != given["width"]:
                self.refused.append(
                    f"{label}: height is {_shown(given['height'])} and width is {_shown(given['width'])}, but both must be the same: the "
                    "images keep their own proportions, and only the area counts."
                )
            if isinstance(given["class_tokens"], str):
                self.token = given["class_tokens"].strip()
                self._set("dataset.trigger", self.token, f"{label}: class_tokens")
            else:
                self.refused.append(
                    f"{label}: class_tokens comes from another node, and a worker needs the value itself."
                )
        side, step = self.values.get("dataset.resolution", 0), fields.all_fields()["dataset.bucket_step"].default
        if side:
            for option, usual in zip(("min_bucket_reso", "max_bucket_reso"), buckets.limits(side, step), strict=True):
                if self.native.get(option) == usual:
                    del self.native[option]

    def _take_passes(self) -> None:
        total = self.values.get("schedule.steps", 0)
        for path, value in passes.every(self.workflow, self.used, total, self.refused).items():
            self._set(path, value, self.label(self.of(START)[0]))
        name = self.of(START)[0]
        text, where = self.inputs(name)["sample_prompts"], f"{self.label(name)}: sample_prompts"
        if not isinstance(text, str):
            self.refused.append(f"{where} comes from another node, and a worker needs the value itself.")
        elif not self.values.get("sampling.every_steps"):
            self.notes.append(f"{where} has no effect: no node makes samples.")
        elif prompts := [each.strip() for each in text.split("|") if each.strip()]:
            self._set("sampling.prompts", tuple({"text": each} for each in prompts), where)


def _counts(row: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Whether the value of an input has an effect beside the other inputs."""
    found = [given.get(key) in wanted for key, wanted in row.get("only_with", {}).items()]
    return not found or (any(found) if row.get("one_of") else all(found))


def _shown(value: Any) -> str:
    return printable(str(value), 80)


def rows() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Every row of the table: class, input, row."""
    for kind, inputs in table().items():
        for name, row in inputs.items():
            if name not in _WHOLE:
                yield kind, name, row
