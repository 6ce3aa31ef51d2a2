"""Lets the training version of a style follow its run: pending, training, then completed with the address of the LoRA, or failed.

A run of a style names its version in its target (`RunPodTarget.style`). Only what is known of the run itself moves the version, never a webhook.
"""

from __future__ import annotations

from trainer_core.errors import RemoteError
from trainer_core.remote import style_places
from trainer_core.remote.addresses import Address
from trainer_core.remote.credentials import Settings
from trainer_core.remote.runpod.absence import Absence
from trainer_core.remote.runpod.answers import Result
from trainer_core.remote.runpod.bucket_run import RESULT, BucketRun, document
from trainer_core.remote.runpod.target import RunPodTarget
from trainer_core.remote.runs.carrier import NotNow, Seen
from trainer_core.remote.runs.notes import Notes

NOTE = "version_status"


def follow(
    target: RunPodTarget, run: BucketRun, notes: Notes, seen: Seen, values: Settings, absence: Absence, grace_s: float
) -> str:
    """Moves the version on to where the run is; a sentence if that is not possible, "" if it is, or if the run is of no style.

    `absence` is that of the version, which counts after `grace_s`.

    Raises:
        RemoteError: the end of the run cannot be recorded now, but may be later.
        NotNow: the same, because the bucket does not show the result or the version.
    """
    if not target.style:
        return ""
    status, address = _status(run, seen)
    if notes.read().get(NOTE) == status:
        return ""
    try:
        place = style_places.opened(target.style["at"], values)
        place.styles.advance(target.style["style"], target.style["version"], status, address)
    except RemoteError as error:
        # While it goes on, the next look tries it again; at the end there is none after this one.
        if seen.phase in {"waiting", "running"}:
            return ""
        if error.is_passing or error.kind == "changed":
            raise
        if error.kind == "missing" and not absence.counts(grace_s):
            raise NotNow(error.message, error.hint) from error
        return f"The version {target.style['version']} of the style could not be set to {status}. {error}"
    notes.write({NOTE: status})
    return ""


def _status(run: BucketRun, seen: Seen) -> tuple[str, str]:
    """The status of the version, and the address of its LoRA."""
    if seen.phase in {"waiting", "running"}:
        return ("pending" if seen.phase == "waiting" else "training"), ""
    data = run.content(RESULT) if seen.phase == "ended" else None
    if seen.phase == "ended" and data is None:
        # It was there a moment ago, and a version that says "failed" stays so.
        raise NotNow("The bucket does not show the result of the run.")
    found = document(data)
    if found is not None and found.is_success:
        return "completed", _address(run, found)
    return "failed", ""


def _address(run: BucketRun, found: Result) -> str:
    """The address of the LoRA as s3://bucket/key: what the worker says, if it is a file of this run; "" else."""
    start = run.address
    return found.lora_url if found.lora_url.startswith(start) and found.lora_url != start else _of_name(run, found)


def _of_name(run: BucketRun, found: Result) -> str:
    """The address of the run's file with the LoRA's name."""
    names = [name for name, _ in run.files() if name.rpartition("/")[2] == found.lora_name]
    return Address(run.bucket.name, run.prefix + names[-1]).uri if names else ""
