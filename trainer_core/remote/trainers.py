"""The trainers that can be chosen for a run: this machine, the machines with a name, and the RunPod endpoint that is set."""

from __future__ import annotations

from dataclasses import dataclass

from trainer_core.remote.credentials import Settings
from trainer_core.remote.machines import book
from trainer_core.text import printable

HERE, SSH, RUNPOD = "here", "ssh", "runpod"
ENDPOINT_NAME, BUCKET_NAME = "MODEL_TRAINING_RUNPOD_ENDPOINT_ID", "S3_USER_BUCKET"


@dataclass(frozen=True)
class Trainer:
    """A trainer. `on` names it as `easel train --on` does ("" for this machine); `price_key` is its key in `kept_settings`."""

    on: str
    title: str
    what: str

    @property
    def kind(self) -> str:
        """The way to reach it: "here", or the id of a `CarrierKind`."""
        return self.on.partition(":")[0] or HERE

    @property
    def price_key(self) -> str:
        """By which its price per hour is kept."""
        return RUNPOD if self.kind == RUNPOD else self.on or HERE


def known(values: Settings) -> tuple[Trainer, ...]:
    """The trainers that can be chosen, this machine last.

    Raises:
        JobError: the list of machines is damaged.
        RemoteError: a setting cannot be used.
    """
    found = []
    if endpoint := values.text(ENDPOINT_NAME):
        bucket = values.text(BUCKET_NAME)
        through = f"through the bucket {bucket}" if bucket else "no bucket is set yet"
        found.append(Trainer(f"{RUNPOD}:{endpoint}", "RunPod", printable(f"endpoint {endpoint}, {through}", 160)))
    for name, entry in book.read().items():
        what = entry.address if entry.address != name else "a machine that ssh reaches"
        found.append(Trainer(f"{SSH}:{name}", printable(name, 80), printable(what, 160)))
    return (*found, Trainer("", "This computer", "as in the LoRA Trainer"))


def named(on: str, trainers: tuple[Trainer, ...]) -> Trainer:
    """The trainer of this name: one of those, or another one that the user has typed."""
    return next((each for each in trainers if each.on == on), Trainer(on, printable(on, 80), "another trainer"))
