"""Starts the training of a style: its version is written first, and follows the run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trainer_core.errors import EaselError, RemoteError
from trainer_core.remote import style_places
from trainer_core.remote.runs import starting
from trainer_core.remote.runs.carrier import Target
from trainer_core.remote.runs.target import named
from trainer_core.remote.styles import Version
from trainer_core.remote.trainers import RUNPOD

if TYPE_CHECKING:
    from trainer_core.prepare.workbench import Workbench
    from trainer_core.training.run import Run


@dataclass(frozen=True)
class OfStyle:
    """The style that is trained: where the styles are, its id, the selection set, and the name of the version."""

    at: str
    style: str
    selection: int
    name: str


def start(bench: Workbench, on: str, style: OfStyle | None = None, gpu: str = "") -> Run:
    """A run on the trainer with this name, started. `gpu` is the GPU of an endpoint, from which RunPod's time limit follows.

    Only a run on RunPod moves its version on, so others write none.

    Raises:
        PlanError: there is a blocking Problem.
        JobError: the trainer cannot train or is not known, or the run folder cannot be written.
        RemoteError: the version of the style cannot be written; nothing was started then.
    """
    target: Target = named(on)
    if target["kind"] != RUNPOD:
        return starting.start(bench, target)
    target = {**target, **({"gpu": gpu} if gpu else {})}
    if style is None:
        return starting.start(bench, target)
    styles = style_places.opened(style.at).styles
    version = _version(style, bench)
    styles.add_version(style.style, version)
    try:
        follows = {"at": style.at, "style": style.style, "version": version.id}
        return starting.start(bench, {**target, "style": follows})
    except EaselError:
        styles.advance(style.style, version.id, "failed")
        raise


def _version(style: OfStyle, bench: Workbench) -> Version:
    values, dataset = bench.state.draft.values, bench.state.facts.dataset
    parameters: Mapping[str, Any] = {
        "network_dim": values["network.rank"],
        "network_alpha": values["network.alpha"],
        "learning_rate": values["optimizer.learning_rate"],
        "max_train_steps": values["schedule.steps"],
        "class_tokens": values["dataset.trigger"],
    }
    if not style.name:
        raise RemoteError("The version has no name.", "Name it, such as v1.0.")
    return Version(
        f"style_{style.style}_{time.time_ns() // 1_000_000}",
        style.name,
        datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        parameters,
        "pending",
        selection_set_id=style.selection,
        image_count=len(dataset.images) if dataset is not None else None,
    )
