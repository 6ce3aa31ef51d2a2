"""Rules for the name and the place of what is trained."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from trainer_core import places
from trainer_core.plan.rules.case import Case
from trainer_core.problems import Fix, Problem

# Windows forbids these in file names, and a LoRA is a file that travels.
FORBIDDEN_IN_NAMES = '<>:"/\\|?*'
LONGEST_NAME_BYTES = 120
"""Engines append steps, states and time stamps to the name; file systems stop at 255 bytes."""
SPARE_DISK_BYTES = 2 * 1024**3


def name_is_good(case: Case) -> Iterator[Problem]:
    """The LoRA has a name that is a file name everywhere."""
    plan = case.plan
    name = plan.output.name
    if not name.strip():
        yield Problem("output.name", "error", "The LoRA has no name. Give it one; its file is called by it.")
        return
    for path, text in (("output.name", name), ("output.prefix", plan.output.prefix)):
        clean = re.sub(rf"[{re.escape(FORBIDDEN_IN_NAMES)}\x00-\x1f\x7f]", "-", text).strip(" .")
        clean = clean.encode("utf-8", "replace")[:LONGEST_NAME_BYTES].decode("utf-8", "ignore").rstrip(" .")
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
