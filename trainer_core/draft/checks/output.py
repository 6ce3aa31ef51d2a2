"""Rules for the name and the folder of the result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from trainer_core.draft.checks.case import Case
from trainer_core.errors import DownloadError
from trainer_core.models import hub_repository, tokens
from trainer_core.plan import fields
from trainer_core.plan.names import LONGEST_NAME_BYTES, as_file_name
from trainer_core.problems import Fix, Problem

SPARE_DISK_BYTES = 2 * 1024**3
MANY = 100
"""Checkpoints of a run above which a warning is shown."""


def name_is_good(case: Case) -> Iterator[Problem]:
    """The LoRA has a name that is a valid file name on every system."""
    plan = case.plan
    name = plan.output.name
    if not name.strip():
        yield Problem("output.name", "error", "The LoRA has no name. Set one: it is also the name of its file.")
        return
    for path, text in (("output.name", name), ("output.prefix", plan.output.prefix)):
        if as_file_name(text) != text:
            message = f"{text!r:.100} cannot be part of a file name on every system."
            yield Problem(path, "error", message, _use(path, as_file_name(text), plan.output.prefix))
            return
    if plan.output_stem.startswith("-"):
        path, text = ("output.prefix", plan.output.prefix) if plan.output.prefix else ("output.name", name)
        message = "The file name would begin with a dash, and programs would take it for an option."
        yield Problem(path, "error", message, _use(path, text, plan.output.prefix))
        return
    if len(plan.output_stem.encode()) > LONGEST_NAME_BYTES:
        message = f"Prefix and name together are longer than {LONGEST_NAME_BYTES} bytes. Shorten one of them."
        yield Problem("output.prefix", "error", message, Fix("Use no prefix", {"output.prefix": ""}))


def _use(path: str, text: str, prefix: str) -> Fix:
    """The fix that sets a name or prefix that is like this text, and with which the file name does not begin with a dash."""
    if path == "output.name":
        clean = (text if prefix else text.lstrip("-").strip(" .")) or "lora"
        return Fix(f"Use {clean!r}", {path: clean})
    clean = text.lstrip("-").strip(" .")
    return Fix(f"Use {clean!r}" if clean else "Use no prefix", {path: clean})


def mirror_can_be_written(case: Case) -> Iterator[Problem]:
    """The folder of the mirror is there, or the one above it, so that only this one is made."""
    mirror = case.at("output.mirror_to")
    if mirror is None or not mirror.text or mirror.is_folder or hub_repository.is_place(mirror.text):
        return
    parent = str(PurePath(mirror.path).parent)
    if mirror.exists:
        message = f"{mirror.text} is not a folder, so nothing can be mirrored there."
    elif mirror.folder != parent:
        # More folders would be made on this disk where another one is not mounted.
        message = f"There is no folder {parent}, so nothing can be mirrored there. Mount its disk, or create the folder, first."
    else:
        return
    yield Problem("output.mirror_to", "error", message, Fix("Do not mirror", {"output.mirror_to": ""}))


def mirror_reaches_the_hub(case: Case) -> Iterator[Problem]:
    """A mirror on the Hub has a valid address and a token; it is said that what the run makes leaves this machine."""
    mirror = case.at("output.mirror_to")
    if mirror is None or not hub_repository.is_place(mirror.text):
        return
    no_mirror = Fix("Do not mirror", {"output.mirror_to": ""})
    try:
        place = hub_repository.place(mirror.text)
    except DownloadError as error:
        yield Problem("output.mirror_to", "error", str(error), no_mirror)
        return
    if case.facts.hub is not None and case.facts.hub.reach == "off":
        message = "The Hub is switched off (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE), so nothing can be mirrored there."
        yield Problem("output.mirror_to", "error", message, no_mirror)
    elif not mirror.is_writable:
        message = f"A mirror on Hugging Face needs a token that may write. {tokens.where_to_set('huggingface')}"
        yield Problem("output.mirror_to", "error", message, no_mirror)
    else:
        message = (
            f"What the run makes is sent to {place.repo} on Hugging Face: checkpoints, samples, the result, and the records with prompts, "
            "paths and log. A repository that is missing is created, as a private one; a public one is refused."
        )
        yield Problem("output.mirror_to", "info", message, no_mirror)


def folders_can_be_written(case: Case) -> Iterator[Problem]:
    """The output folders exist or can be created, are writable and have free space."""
    copies, wanted = case.at("output.copy_to"), case.at("output.folder")
    if copies is not None and copies.text and not copies.is_folder:
        message = f"The folder {copies.text} does not exist, so the LoRA cannot be copied there."
        yield Problem("output.copy_to", "error", message, Fix("Do not copy", {"output.copy_to": ""}))
    mirror = case.at("output.mirror_to")
    named = (case.at(setting.path) for setting in fields.paths() if setting.path.startswith("dataset."))
    read = [found for found in named if found and found.text]
    for path, seen in (("output.folder", wanted), ("output.copy_to", copies), ("output.mirror_to", mirror)):
        if seen and seen.text and any(PurePath(seen.path).is_relative_to(images.path) for images in read):
            message = "This folder is in one with your images, to which Easel never writes. Choose another one."
            yield Problem(path, "error", message, Fix("Leave it empty", {path: ""}))
    if wanted is None:
        return
    outputs = Fix("Use Easel's outputs folder", {"output.folder": ""}) if wanted.text else None
    if not wanted.is_writable:
        where = "" if wanted.text else " Easel's home folder is set by the environment variable EASEL_HOME."
        yield Problem("output.folder", "error", f"Easel cannot write to {wanted.path}.{where}", outputs)
    elif wanted.free_bytes < SPARE_DISK_BYTES:
        message = f"Less than 2 GiB are free in {wanted.folder}, which may not be enough for caches and LoRA files."
        yield Problem("output.folder", "warning", message)


def older_checkpoints_go(case: Case) -> Iterator[Problem]:
    """Says beforehand what a plan that keeps only the newest checkpoints loses."""
    kept, every, steps = case.plan.output.keep_last, case.plan.output.save_every_steps, case.plan.schedule.steps
    if not kept or not every:
        return
    gone = steps // every - kept
    if gone <= 0:
        return
    message = (
        f"As you asked, the engine deletes {gone} of the {steps // every} checkpoints of this run: it keeps the newest"
        f"{f' {kept}' if kept > 1 else ''}. It does not spare one that you mark as the best: copy that while it is there."
    )
    yield Problem("output.keep_last", "info", message, Fix("Keep all", {"output.keep_last": 0}))


def checkpoints_can_be_looked_through(case: Case) -> Iterator[Problem]:
    """The checkpoints that stay are not so many that nobody can compare them, such as one of every step."""
    kept, every, steps = case.plan.output.keep_last, case.plan.output.save_every_steps, case.plan.schedule.steps
    saved = steps // every if every else 0
    if saved <= MANY or 0 < kept <= MANY:
        return
    often = "every step" if every == 1 else f"every {every} steps"
    rarer = -(-steps // 10)
    message = f"{saved:,} checkpoints are saved, one after {often}. Each needs time and space on the disk."
    fix = Fix(f"Save every {rarer:,} steps", {"output.save_every_steps": rarer})
    yield Problem("output.save_every_steps", "warning", message, fix)


def output_is_new(case: Case) -> Iterator[Problem]:
    """There is no LoRA with this name yet; an existing one is never overwritten."""
    seen = case.facts.at("output.name", case.plan.output_stem)
    if case.plan.output.name and seen is not None and seen.exists:
        name = PurePath(seen.path).name
        yield Problem(
            "output.name", "info", f"{name} already exists, so a number is added to the name of the new file."
        )
