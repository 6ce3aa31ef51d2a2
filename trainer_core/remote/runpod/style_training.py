"""Trains a selection set of a style or an actor on RunPod, as a run of Easel, and adds it to the training versions of the style.

The values are those of `compute_hyperparams`; the models are named as in the workflow of the document "LoRA Training Module", and are expected
on the network volume of the endpoint.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from trainer_core import places, policies
from trainer_core.errors import EaselError, RemoteError
from trainer_core.plan.elsewhere import VOLUME
from trainer_core.policies import PolicyCase
from trainer_core.prepare import problems
from trainer_core.prepare.workbench import NO_POLICY, Workbench, for_trainer
from trainer_core.remote import addresses, storage, style_places, styles
from trainer_core.remote.credentials import Settings
from trainer_core.remote.runpod.target import RunPodTarget
from trainer_core.remote.runs import starting
from trainer_core.remote.storage import Bucket
from trainer_core.remote.storage.work import FILES_AT_ONCE, each
from trainer_core.remote.style_places import BUCKET_NAME, StylePlace
from trainer_core.remote.styles import SelectionSet, Version
from trainer_core.remote.training.hyperparams import Hyperparams, compute_hyperparams, type_of
from trainer_core.remote.training.inputs import CAPTION, Listed, listed
from trainer_core.remote.training.workflow import TEMPLATE, load_workflow_template
from trainer_core.remote.worker.mapping import mapped
from trainer_core.text import amount, printable
from trainer_core.training.run import Run

FAMILY, METHOD = "flux", "lora"
PROFILES = {"custom-styles": "flux-style", "custom-actors": "flux-character"}
VERSION_IDS = 20


@dataclass(frozen=True)
class Asked:
    """What is to be trained. `kind` is "custom-styles" or "custom-actors"; `subject` the id of the style or actor.

    `preset` is as in `compute_hyperparams`; `trigger` is "" for the usual one; `engine` trains there, by default the best one.
    """

    subject: str
    selection: str
    version: str
    kind: str = "custom-styles"
    preset: str = ""
    trigger: str = ""
    engine: str = ""


@dataclass(frozen=True)
class Prepared:
    """A training that can be started. `reason` says why these are the computed values; the bench may have others."""

    asked: Asked
    place: StylePlace
    bench: Workbench
    version: Version
    computed: Hyperparams
    reason: str
    images: Listed


def prepare(asked: Asked, values: Settings, where: str = "") -> Prepared:
    """Finds the images, brings them here, and prepares the run; nothing is sent and nothing is written to the style.

    Raises:
        RemoteError: there is no such set, an image is missing, or the storage refuses it.
        EaselError: a value or the preset cannot be used.
    """
    word = type_of(asked.kind).word
    place = style_places.opened(where, values)
    chosen = style_places.selection_set(place.styles, asked.subject, asked.selection)
    name = values.text(BUCKET_NAME)
    if not name:
        raise RemoteError(f"{BUCKET_NAME} is not set: it is the bucket with the images.", "", "setting")
    bucket = storage.connect(f"s3://{name}", values)
    found = _listed(bucket, asked, chosen)
    try:
        computed = compute_hyperparams(asked.kind, found.images, asked.preset)
    except ValueError as error:
        raise EaselError(str(error)) from None
    subject = f"{word}_{asked.subject}"
    trigger = asked.trigger or subject
    bench = Workbench(engine=asked.engine, quick=False)
    for_trainer(bench, None)
    bench.use_profile(PROFILES[asked.kind])
    bench.use_policy(NO_POLICY)
    folder = _brought(bucket, found, f"{subject}-{chosen.id}")
    bench.set({**_models(), **_computed(computed), "dataset.path": str(folder), "dataset.trigger": trigger})
    bench.set({"output.name": f"{subject}_{asked.version}"})
    version = Version(
        f"{subject}_{int(time.time())}",
        asked.version,
        dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        _parameters(bench, trigger),
        "pending",
        selection_set_id=chosen.id,
        image_count=found.images,
    )
    return Prepared(asked, place, bench, version, computed, _reason(asked, found.images), found)


def renewed(prepared: Prepared) -> Prepared:
    """The same after values of its bench were changed."""
    trigger = prepared.bench.state.draft.text("dataset.trigger")
    version = dataclasses.replace(prepared.version, parameters=_parameters(prepared.bench, trigger))
    return dataclasses.replace(prepared, version=version)


def start(prepared: Prepared, target: RunPodTarget) -> Run:
    """Adds the version to the style and starts the run, which the version follows.

    Raises:
        PlanError: there is a blocking Problem.
        JobError, RemoteError: the run cannot be made, or the version cannot be added.
    """
    # Its Problems are known before anything is written to the style.
    starting.look(prepared.bench, target.as_dict())
    state = prepared.bench.state
    if state.backend is None:
        raise EaselError(f"No engine trains {FAMILY}.", "Name one with --engine.")
    problems.plan(state, state.backend)
    version = _added(prepared)
    named = {"at": prepared.place.address, "style": prepared.asked.subject, "version": version.id}
    with contextlib.ExitStack() as undo:
        undo.callback(prepared.place.styles.advance, prepared.asked.subject, version.id, "failed")
        run = starting.start(prepared.bench, dataclasses.replace(target, style=named).as_dict())
        undo.pop_all()
    return run


def _added(prepared: Prepared) -> Version:
    """The version as it was added, with an id that no other one has."""
    version = prepared.version
    stem, _, stamp = version.id.rpartition("_")
    for more in range(VERSION_IDS):
        tried = dataclasses.replace(version, id=f"{stem}_{int(stamp) + more}")
        known = {one.id for one in prepared.place.styles.versions(prepared.asked.subject)}
        if tried.id in known:
            continue
        try:
            prepared.place.styles.add_version(prepared.asked.subject, tried)
        except RemoteError as error:
            if error.kind != "taken":
                raise
            continue
        return tried
    raise RemoteError("Too many trainings of the style begin at the same time.", "Start it again.", "busy")


def _listed(bucket: Bucket, asked: Asked, chosen: SelectionSet) -> Listed:
    """The images of a selection set and their captions: each image has one, or none has."""
    uris = styles.uris(bucket.name, asked.subject, chosen)

    def is_there(uri: str) -> bool:
        address = addresses.parse(uri)
        if address.bucket != bucket.name:
            message = f"{printable(uri, 200)} is not in the bucket {bucket.name}."
            raise RemoteError(message, "Copy it there, or leave it out of the set.", "address")
        return storage.look(bucket, address.key) is not None

    there = dict(zip(uris, each(is_there, uris, FILES_AT_ONCE), strict=True))
    missing = [uri for uri in uris[::2] if not there[uri]]
    if missing:
        message = f"{amount(len(missing), 'image')} of the set {printable(chosen.name, 60)} are missing, such as {printable(missing[0], 200)}."
        raise RemoteError(message, "Upload them, or change the set.", "missing")
    try:
        return listed([uri for uri in uris if there[uri]])
    except ValueError as error:
        raise RemoteError(str(error), "Change the set, or the images.", "content") from None


def _brought(bucket: Bucket, found: Listed, name: str) -> Path:
    """A folder of this machine with the images and captions, which the run is prepared with. What is there is not sent again."""
    digest = hashlib.sha256("\n".join(sorted(found.urls)).encode()).hexdigest()[:8]
    folder = places.datasets() / f"{name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)

    def one(uri: str) -> None:
        key = addresses.parse(uri).key
        storage.download(bucket, key, folder / PurePosixPath(key).name, replaces=True)

    each(one, found.urls, FILES_AT_ONCE)
    wanted = {PurePosixPath(uri).name for uri in found.urls}
    # A caption that was deleted in the bucket since must not be trained.
    for path in folder.iterdir():
        if path.suffix == CAPTION and path.name not in wanted:
            path.unlink()
    return folder


def _models() -> dict[str, Any]:
    """The models of the document's workflow, by their names on the network volume."""
    named = mapped(load_workflow_template(TEMPLATE)).files
    files = {setting: f"{VOLUME}{name}" for setting, name in named.items()}
    return {"model.family": FAMILY, "model.method": METHOD, "memory.fp8_base": True, **files}


def _computed(found: Hyperparams) -> dict[str, Any]:
    return {
        "optimizer.learning_rate": found.learning_rate,
        "schedule.steps": found.max_train_steps,
        "network.rank": found.network_dim,
        "network.alpha": found.network_alpha,
    }


def _parameters(bench: Workbench, trigger: str) -> dict[str, Any]:
    """The parameters of a version, by the names of the document "LoRA Training System"."""
    values = bench.state.draft.values
    return {
        "network_dim": values["network.rank"],
        "network_alpha": values["network.alpha"],
        "learning_rate": values["optimizer.learning_rate"],
        "max_train_steps": values["schedule.steps"],
        "class_tokens": trigger,
    }


def _reason(asked: Asked, images: int) -> str:
    """Why the learning rate and steps are what they are, in the words of the policy."""
    policy = policies.get(asked.preset or type_of(asked.kind).policy)
    case = PolicyCase(images=images, family=FAMILY, method=METHOD, environment=os.environ)
    return policies.values(policy, case).message
