"""Checks a workflow against the recorded nodes of ComfyUI-FluxTrainer, and for what would stop or spoil a training.

`nodes.json` is written by scripts/record_training_nodes.py from the source of ComfyUI-FluxTrainer (Apache-2.0).
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from trainer_core.text import nearest, printable

MOST_NODES = 500
_FILES = "file of a folder"
_STYLE = "style of matplotlib"
_TEXTS = {"STRING", _FILES, _STYLE}
_LITERALS = {"INT", "FLOAT", "BOOLEAN", "one of", *_TEXTS}
_LOOP, _LOSS = "FluxTrainLoop", "VisualizeLoss"
_STARTS = ("InitFluxLoRATraining", "InitFluxTraining")


@functools.cache
def nodes() -> Mapping[str, Any]:
    """The recorded nodes by their class: inputs, outputs, and whether it is a node that makes a workflow run."""
    text = Path(__file__).with_name("nodes.json").read_text(encoding="utf-8")
    return json.loads(text)["nodes"]


def problems(workflow: Any) -> list[str]:
    """What is wrong with a workflow in the form of ComfyUI's API, as sentences; empty if nothing is."""
    if not isinstance(workflow, Mapping) or not workflow:
        return ["The workflow has no nodes."]
    if len(workflow) > MOST_NODES:
        return [f"The workflow has {len(workflow)} nodes, more than {MOST_NODES}."]
    found = [sentence for name, node in workflow.items() if (sentence := _form(name, node))]
    # What follows reads the nodes by their class.
    found = found or [sentence for name, node in workflow.items() for sentence in _node(workflow, name, node)]
    return found or list(_whole(workflow))


def _form(name: Any, node: Any) -> str:
    """What is wrong with the form of a node."""
    if not isinstance(name, str):
        return f'The id of a node must be text, such as "109": {printable(repr(name), 40)} is not.'
    if not isinstance(node, Mapping) or not isinstance(node.get("inputs"), Mapping):
        return f"Node {_shown(name)} has no inputs."
    kind = node.get("class_type")
    if not isinstance(kind, str) or kind not in nodes():
        known = nearest(kind, nodes()) if isinstance(kind, str) else ""
        meant = f" Was {known} meant?" if known else ""
        return f"Node {_shown(name)} is of the class {_shown(kind)}, which is no node of a training.{meant}"
    return ""


def _node(workflow: Mapping[str, Any], name: str, node: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the inputs of a node."""
    declared = nodes()[node["class_type"]]["inputs"]
    label = f"Node {_shown(name)} ({node['class_type']})"
    for key in node["inputs"]:
        if key not in declared:
            yield f"{label} has no input {_shown(key)}.{_owner(workflow, key, declared)}"
    for key, about in declared.items():
        if key in node["inputs"]:
            sentence = _value(workflow, about, node["inputs"][key])
            if sentence:
                yield f"{label}: {key} {sentence}."
        elif about["required"]:
            yield f"{label} needs the input {key}."


def _owner(workflow: Mapping[str, Any], key: Any, declared: Mapping[str, Any]) -> str:
    """A sentence that names the node that has such an input."""
    if not isinstance(key, str):
        return ""
    for name, node in workflow.items():
        if key in nodes()[node["class_type"]]["inputs"]:
            return f" Node {_shown(name)} ({node['class_type']}) has it."
    known = nearest(key, declared)
    return f" Was {known} meant?" if known else ""


def _value(workflow: Mapping[str, Any], about: Mapping[str, Any], value: Any) -> str:
    """What is wrong with the value of an input, as the end of a sentence."""
    kind = about["type"]
    if isinstance(value, list | tuple):
        return _link(workflow, kind, value)
    if kind not in _LITERALS:
        return f"must be linked to a node that returns {kind}"
    if kind == "one of":
        return (
            "" if value in about["values"] else f"is {_shown(value)}, but must be one of {', '.join(about['values'])}"
        )
    if kind == "BOOLEAN":
        return "" if isinstance(value, bool) else f"is {_shown(value)}, but must be true or false"
    if kind in _TEXTS:
        return _text(kind, value)
    return _number(about, value)


def _number(about: Mapping[str, Any], value: Any) -> str:
    is_whole = about["type"] == "INT"
    what = "a whole number" if is_whole else "a number"
    allowed = int if is_whole else int | float
    if (
        isinstance(value, bool)
        or not isinstance(value, allowed)
        or (isinstance(value, float) and not math.isfinite(value))
    ):
        return f"is {_shown(value)}, but must be {what}"
    if value < about.get("min", value):
        return f"is {_shown(value)}, but must be at least {about['min']}"
    if value > about.get("max", value):
        return f"is {_shown(value)}, but must be at most {about['max']}"
    return ""


def _text(kind: str, value: Any) -> str:
    if not isinstance(value, str):
        return f"is {_shown(value)}, but must be text"
    path = PurePosixPath(value.replace("\\", "/"))
    if kind == _FILES and (not value or path.is_absolute() or ".." in path.parts):
        return f"is {_shown(value)}, but must be the name of a file in ComfyUI's folder of models"
    return ""


def _link(workflow: Mapping[str, Any], kind: str, value: Any) -> str:
    is_link = (
        len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int) and not isinstance(value[1], bool)
    )
    if not is_link:
        return "must be one value, or a link: the id of a node and the number of its output"
    source, slot = value
    if source not in workflow:
        return f"is linked to node {_shown(source)}, which does not exist"
    outputs = nodes()[workflow[source]["class_type"]]["outputs"]
    if not 0 <= slot < len(outputs):
        return f"is linked to output {slot} of node {_shown(source)}, which has {len(outputs)}"
    wanted = "STRING" if kind in _TEXTS else kind
    if outputs[slot] != wanted:
        return f"is linked to output {slot} of node {_shown(source)}, which is {outputs[slot]} and not {kind}"
    return ""


# ---- the workflow as a whole ----
def needed(workflow: Mapping[str, Any]) -> set[str]:
    """The nodes of a checked workflow that ComfyUI would run: its outputs, and what they need."""
    found: set[str] = set()
    for name, node in workflow.items():
        if nodes()[node["class_type"]]["is_output"]:
            found |= {name, *above(workflow, name)}
    return found


def _whole(workflow: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong although every node is right."""
    if circle := _circle(workflow):
        yield f"Node {_shown(circle)} is linked to itself, over other nodes."
        return
    used = needed(workflow)
    starts = [name for name, node in workflow.items() if node["class_type"] in _STARTS]
    if not used:
        yield "No node is an output, so ComfyUI would run nothing. Link a FluxTrainEnd to the training."
    elif not set(starts) & used:
        yield f"No output needs a node that trains ({' or '.join(_STARTS)}), so nothing would be trained."
    for start in starts:
        yield from _steps(workflow, start)
    for name, node in workflow.items():
        sentence = _spoiled(node)
        if sentence:
            yield f"Node {_shown(name)} ({node['class_type']}): {sentence}."


def _steps(workflow: Mapping[str, Any], start: str) -> Iterator[str]:
    """Whether the loops after the start of a training train all of its steps. A number that comes from a node is not known here."""
    most = workflow[start]["inputs"].get("max_train_steps")
    after = [name for name, node in workflow.items() if start in above(workflow, name)]
    loops = {name: workflow[name]["inputs"]["steps"] for name in after if workflow[name]["class_type"] == _LOOP}
    numbers = [steps for steps in loops.values() if isinstance(steps, int)]
    if loops and len(numbers) == len(loops) and isinstance(most, int) and sum(numbers) != most:
        names = " and ".join(f"node {_shown(name)}" for name in loops)
        yield (
            f"max_train_steps of node {_shown(start)} is {most}, but the training loop has {sum(numbers)} steps ({names}). "
            "Set both to the same number."
        )
    for name in after:
        node = workflow[name]
        window = node["inputs"].get("window_size")
        if node["class_type"] == _LOSS and isinstance(window, int) and isinstance(most, int) and window >= most:
            yield f"window_size of node {_shown(name)} is {window}, but must be less than the {most} steps."


def _spoiled(node: Mapping[str, Any]) -> str:
    inputs = node["inputs"]
    low, high = inputs.get("min_bucket_reso"), inputs.get("max_bucket_reso")
    if isinstance(low, int) and isinstance(high, int) and low > high:
        return f"min_bucket_reso is {low}, above max_bucket_reso, {high}"
    name = inputs.get("output_name")
    if isinstance(name, str) and (not name or set(name) & set("/\\") or name.startswith(".")):
        return f"output_name is {_shown(name)}, but must be the name of a file without a folder"
    return ""


def _sources(node: Mapping[str, Any]) -> list[str]:
    return [value[0] for value in node["inputs"].values() if isinstance(value, list | tuple)]


def above(workflow: Mapping[str, Any], name: str) -> set[str]:
    """The nodes that a node needs."""
    found: set[str] = set()
    left = _sources(workflow[name])
    while left:
        each = left.pop()
        if each not in found:
            found.add(each)
            left += _sources(workflow[each])
    return found


def _circle(workflow: Mapping[str, Any]) -> str:
    """A node that needs itself; "" if there is none."""
    return next((name for name in workflow if name in above(workflow, name)), "")


def _shown(value: Any) -> str:
    return printable(str(value), 80)
