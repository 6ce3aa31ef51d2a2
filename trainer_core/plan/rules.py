"""The rules every plan must keep, whatever the engine.

Each is a small function that yields Problems, with a fix where one exists. What only one engine stumbles over is checked
by that engine.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.plan.facts import Facts
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

if TYPE_CHECKING:
    from trainer_core.backend import Backend

# Windows forbids these in file names, and a LoRA is a file that travels.
FORBIDDEN_IN_NAMES = '<>:"/\\|?*'
LONGEST_NAME_BYTES = 120
"""Engines append steps, states and time stamps to the name; file systems stop at 255 bytes."""
LATENT_PX = 8
"""How many pixels of a side one latent pixel stands for, in all families so far."""
SPARE_DISK_BYTES = 2 * 1024**3
GENERIC_TRIGGERS = frozenset({"boy", "character", "girl", "man", "person", "style", "woman", "1girl", "1boy"})


@dataclass(frozen=True)
class Case:
    """What a rule looks at: the plan, the facts it stands on, and the engine, None when none could be chosen."""

    plan: TrainingPlan
    facts: Facts
    backend: Backend | None


Rule = Callable[[Case], Iterator[Problem]]


def check(case: Case) -> list[Problem]:
    """All Problems of a plan under every rule."""
    return [problem for rule in RULES for problem in rule(case)]


def model_is_known(case: Case) -> Iterator[Problem]:
    """A model is chosen, exists and is recognised, and nothing said contradicts the file."""
    plan, facts = case.plan, case.facts
    if not plan.model.path:
        yield Problem("model.path", "error", "No base model is chosen. Pick a checkpoint file or a diffusers folder.")
        return
    if not places.is_there(places.typed(plan.model.path)):
        yield Problem("model.path", "error", f"The base model {plan.model.path} does not exist.")
        return
    detection = facts.detection
    if detection is None:
        reason = facts.detection_error or "its header was not read"
        yield Problem("model.path", "error", f"The base model could not be recognised: {reason}")
        return
    if detection.role not in ("checkpoint", "diffusion_model"):
        kind = "not recognised" if detection.role == "unknown" else f"a {detection.role.replace('_', ' ')}"
        why = f" ({detection.evidence[0]})" if detection.evidence else ""
        yield Problem("model.path", "error", f"This file is {kind}, not a base model a LoRA can be trained on{why}.")
    if detection.family and plan.model.family != detection.family:
        fix = Fix("Use what the file says", {"model.family": ""})
        message = f"The family is set to {plan.model.family}, but the file is {detection.family}."
        yield Problem("model.family", "error", message, fix)
    said = detection.prediction
    if said and plan.model.prediction and plan.model.prediction != said:
        fix = Fix("Use what the file says", {"model.prediction": ""})
        message = (
            f"Prediction is set to {plan.model.prediction}, but the file is marked {said}: training would yield noise."
        )
        yield Problem("model.prediction", "error", message, fix)


def model_is_no_blind_link(case: Case) -> Iterator[Problem]:
    """A link to a model keeps its ending, for an engine that looks at the ending of what the link leads to."""
    path = places.typed(case.plan.model.path)
    engine = case.backend.manifest if case.backend else None
    if engine is None or not engine.tables.get("model", {}).get("follows_links"):
        return
    if not places.is_there(path) or not path.is_symlink():
        return
    if path.resolve().suffix != path.suffix:
        message = f"{engine.title} follows the link {path.name} to a file without its ending (a download cache has such files)"
        yield Problem(
            "model.path", "error", f"{message} and would not know it. Copy the model, or link it by hard link."
        )


def vae_exists(case: Case) -> Iterator[Problem]:
    """The VAE that was named is there."""
    plan = case.plan
    if plan.model.vae and not places.is_there(places.typed(plan.model.vae)):
        fix = Fix("Use the VAE inside the model", {"model.vae": ""})
        yield Problem("model.vae", "error", f"The VAE {plan.model.vae} does not exist.", fix)


def model_is_whole(case: Case) -> Iterator[Problem]:
    """A single file holds the text encoders and the VAE that the training of its family starts from."""
    detection, backend = case.facts.detection, case.backend
    if detection is None or backend is None or detection.role != "diffusion_model":
        return
    if detection.family in backend.manifest.families:
        message = "This file is the diffusion model alone: text encoders or VAE are missing, and training needs them."
        yield Problem("model.path", "error", f"{message} Choose the whole checkpoint.")


def paths_are_readable_by_engines(case: Case) -> Iterator[Problem]:
    """The names of the files an engine is told of are UTF-8, as its configuration is."""
    model = case.plan.model
    for path, text in (("model.path", model.path), ("model.vae", model.vae)):
        if text != text.encode("utf-8", "ignore").decode():
            message = f"{text!r:.100} is not UTF-8, so no engine finds it by its configuration. Rename the file."
            yield Problem(path, "error", message)


def engine_claims_family(case: Case) -> Iterator[Problem]:
    """There is an engine, and it trains this family."""
    plan, backend = case.plan, case.backend
    family = plan.model.family
    if not family:
        return
    if backend is None:
        yield Problem("model.family", "error", f"No training engine of Easel trains {family} in this version.")
        return
    manifest = backend.manifest
    if reason := manifest.refused.get(family):
        yield Problem("model.family", "error", f"{manifest.title} does not train {family}: {reason}")
    elif family not in manifest.families:
        yield Problem("model.family", "error", f"{manifest.title} does not train {family}.")


def dataset_is_usable(case: Case) -> Iterator[Problem]:
    """A dataset is chosen, and what its scan found."""
    plan, facts = case.plan, case.facts
    if not plan.dataset.path:
        yield Problem("dataset.path", "error", "No dataset is chosen. Pick the folder that holds your pictures.")
    elif facts.dataset is None:
        reason = facts.dataset_error or f"The dataset folder {plan.dataset.path} could not be read."
        yield Problem("dataset.path", "error", reason)
    else:
        yield from facts.dataset.problems


def trigger_is_good(case: Case) -> Iterator[Problem]:
    """A trigger word exists where one is needed, and is not a word every model already knows."""
    plan, facts = case.plan, case.facts
    trigger = plan.dataset.trigger.strip()
    if not trigger:
        pictures = facts.dataset.pictures if facts.dataset else ()
        without = sum(not picture.caption for picture in pictures)
        if without:
            message = (
                f"{without} of {len(pictures)} pictures have no caption, and there is no trigger word to stand in."
            )
            yield Problem("dataset.trigger", "error", f"{message} Give a trigger word, or write captions.")
        else:
            message = "No trigger word: what is learnt has no word of its own and always shows a little."
            yield Problem("dataset.trigger", "warning", message)
    elif trigger.lower() in GENERIC_TRIGGERS:
        message = (
            f'The trigger word "{trigger}" already means something to the model. Choose a rare word, such as a name.'
        )
        yield Problem("dataset.trigger", "warning", message)


def name_is_good(case: Case) -> Iterator[Problem]:
    """The LoRA has a name that is a file name everywhere."""
    plan = case.plan
    name = plan.output.name
    if not name.strip():
        yield Problem("output.name", "error", "The LoRA has no name. Give it one; its file is called by it.")
        return
    for path, text in (("output.name", name), ("output.prefix", plan.output.prefix)):
        clean = re.sub(rf"[{re.escape(FORBIDDEN_IN_NAMES)}\x00-\x1f\x7f]", "-", text).strip(" .")
        clean = clean.encode("utf-8", "replace")[:LONGEST_NAME_BYTES].decode("utf-8", "ignore")
        if clean != text:
            message = f"{text!r:.100} cannot be part of a file name on every system."
            yield Problem(path, "error", message, Fix(f"Use {clean or 'lora'!r}", {path: clean or "lora"}))
            return
    if len(plan.output_stem.encode()) > LONGEST_NAME_BYTES:
        message = f"Prefix and name together are longer than {LONGEST_NAME_BYTES} bytes."
        yield Problem("output.prefix", "error", message, Fix("Use no prefix", {"output.prefix": ""}))


def folders_can_be_written(case: Case) -> Iterator[Problem]:
    """The folders results go to exist or can be made, can be written and have room."""
    plan = case.plan
    if plan.output.copy_to and not places.is_folder(places.typed(plan.output.copy_to)):
        message = f"The folder {plan.output.copy_to} does not exist, so the LoRA cannot be copied there."
        yield Problem("output.copy_to", "error", message, Fix("Do not copy", {"output.copy_to": ""}))
    wanted = places.typed(plan.output.folder) if plan.output.folder else places.outputs()
    existing = next((folder for folder in (wanted, *wanted.parents) if places.is_there(folder)), Path("/"))
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        yield Problem(
            "output.folder",
            "error",
            f"{wanted} cannot be written to.",
            Fix("Use Easel's outputs", {"output.folder": ""}),
        )
    elif shutil.disk_usage(existing).free < SPARE_DISK_BYTES:
        yield Problem(
            "output.folder", "warning", f"Less than 2 GiB are free at {existing}: caches and LoRA files may not fit."
        )


def output_is_new(case: Case) -> Iterator[Problem]:
    """Whether a LoRA of that name is there already; it is never overwritten."""
    plan = case.plan
    folder = places.typed(plan.output.folder) if plan.output.folder else places.outputs()
    file = folder / f"{plan.output_stem}.safetensors"
    if plan.output.name and os.path.lexists(file):
        yield Problem("output.name", "info", f"{file.name} exists already; the new one gets a number behind its name.")


def schedule_fits(case: Case) -> Iterator[Problem]:
    """Warm-up, saving and sampling lie within the steps."""
    plan = case.plan
    schedule = plan.schedule
    if schedule.warmup_steps >= schedule.steps:
        fix = Fix("Warm up over 10 % of the steps", {"schedule.warmup_steps": schedule.steps // 10})
        message = f"The warm-up of {schedule.warmup_steps} steps is as long as the training of {schedule.steps}."
        yield Problem("schedule.warmup_steps", "error", message, fix)
    if plan.sampling.every_steps > schedule.steps:
        fix = Fix("Sample at the end", {"sampling.every_steps": schedule.steps})
        yield Problem("sampling.every_steps", "warning", "No sample will be made: the training is shorter.", fix)
    if plan.output.save_every_steps > schedule.steps:
        fix = Fix("Keep only the last", {"output.save_every_steps": 0})
        yield Problem(
            "output.save_every_steps", "warning", "Nothing is saved on the way: the training is shorter.", fix
        )


def samples_can_be_drawn(case: Case) -> Iterator[Problem]:
    """The sides of a sample are whole latent pixels: sd-scripts would round them down unasked, SimpleTuner would stop."""
    sampling = case.plan.sampling
    for path, side in (("sampling.width", sampling.width), ("sampling.height", sampling.height)):
        if sampling.every_steps and side % LATENT_PX:
            nearest = round(side / LATENT_PX) * LATENT_PX
            message = f"The sides of a sample must be multiples of {LATENT_PX}."
            yield Problem(path, "error", message, Fix(f"Use {nearest}", {path: nearest}))


def learning_rate_suits_optimizer(case: Case) -> Iterator[Problem]:
    """Prodigy finds its own rate; the others burn at 1.

    Source: Prodigy's authors and sd-scripts' own warning want a rate near 1; published presets with 2e-4 are mistakes.
    """
    plan = case.plan
    rate = plan.optimizer.learning_rate
    if plan.optimizer.name == "Prodigy" and not 0.1 <= rate <= 2:
        fix = Fix("Use 1", {"optimizer.learning_rate": 1.0})
        yield Problem("optimizer.learning_rate", "error", f"Prodigy finds its own rate and wants 1, not {rate:g}.", fix)
    elif plan.optimizer.name != "Prodigy" and rate > 0.01:
        fix = Fix("Use 1e-4", {"optimizer.learning_rate": 1e-4})
        message = f"A learning rate of {rate:g} destroys the LoRA with {plan.optimizer.name}; 1e-4 is usual."
        yield Problem("optimizer.learning_rate", "warning", message, fix)


RULES: tuple[Rule, ...] = (
    model_is_known,
    model_is_whole,
    model_is_no_blind_link,
    vae_exists,
    paths_are_readable_by_engines,
    engine_claims_family,
    dataset_is_usable,
    trigger_is_good,
    name_is_good,
    folders_can_be_written,
    output_is_new,
    schedule_fits,
    samples_can_be_drawn,
    learning_rate_suits_optimizer,
)
