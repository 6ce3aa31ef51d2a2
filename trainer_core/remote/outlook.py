"""What a start on a trainer will do, said before it: what is sent, where to, and what comes back. Reads sizes of files only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core.remote.runs.request import paths_of
from trainer_core.remote.trainers import HERE, RUNPOD, SSH, Trainer
from trainer_core.text import printable, size

if TYPE_CHECKING:
    from trainer_core.prepare.state import State


@dataclass(frozen=True)
class Outlook:
    """What a start sends. `images` and `captions` are numbers of files with together `image_bytes`; `models` are (name, bytes).

    A model whose size is 0 is no file of this machine: the trainer gets it by itself.
    """

    trainer: Trainer
    images: int = 0
    captions: int = 0
    image_bytes: int = 0
    models: tuple[tuple[str, int], ...] = ()

    @property
    def told(self) -> tuple[tuple[str, str], ...]:
        """What happens, as (what, sentence), in the order in which it does."""
        if self.trainer.kind == HERE:
            return (
                ("Sent", "Nothing. The training runs on this computer, as if it was started in the LoRA Trainer."),
                ("Afterwards", "The run is in Watch, Results and History."),
            )
        return (
            *self.sent,
            ("Meanwhile", "You can close this page and turn this computer off: the training goes on there."),
            ("Afterwards", "The files come back into this computer's run, and to the folder of your results."),
        )

    @property
    def sent(self) -> tuple[tuple[str, str], ...]:
        """What goes to a trainer that is not this computer, as (what, sentence)."""
        to = f"{self.trainer.title} ({self.trainer.what})" if self.trainer.what else self.trainer.title
        return (
            (
                "Images",
                f"{self._counted()} go to {to}{_HOW.get(self.trainer.kind, '')}. What is there already is not sent again.",
            ),
            ("Model", self._models()),
            (
                "Plan",
                "Every setting of the plan, in a small request. The trainer checks it again and makes the files of it.",
            ),
            ("Keys", _KEYS.get(self.trainer.kind, "No key is sent.")),
        )

    def _counted(self) -> str:
        images = f"{self.images:,} image{'' if self.images == 1 else 's'}"
        captions = f" and {self.captions:,} caption{'' if self.captions == 1 else 's'}" if self.captions else ""
        return f"{images}{captions} ({size(self.image_bytes)})"

    def _models(self) -> str:
        here = [f"{name} ({size(bytes_)})" for name, bytes_ in self.models if bytes_]
        there = [name for name, bytes_ in self.models if not bytes_]
        said = []
        if here:
            said.append(f"{_listed(here)}: {_MODELS.get(self.trainer.kind, 'sent unless it is there')}.")
        if there:
            said.append(f"{_listed(there)}: the trainer has it, or gets it by itself.")
        return " ".join(said) or "No model is chosen yet."


_HOW = {SSH: " over ssh", RUNPOD: " through your bucket"}
_KEYS = {
    SSH: "No key is sent. ssh uses the key that it always uses for this machine.",
    RUNPOD: "RunPod's key goes to RunPod only, and the key of the bucket to its storage only. Neither is in the request.",
}
_MODELS = {
    SSH: "sent once over ssh, and kept there",
    RUNPOD: "sent to your bucket unless it is there, and kept there; the worker downloads it",
}


def look(state: State, trainer: Trainer) -> Outlook:
    """What a start of this job on this trainer sends."""
    dataset = state.facts.dataset
    found = [image for one in dataset.folders.values() for image in one.images] if dataset is not None else []
    captions = [image.caption_file for image in found if image.caption_file is not None]
    backend = state.backend
    tables = state.draft.sketch().model_dump(exclude_none=True) if backend is not None else {}
    named = (
        {each.path for each in paths_of(tables, backend.manifest.id) if not each.is_images}
        if backend is not None
        else set()
    )
    models = tuple((printable(Path(path).name, 120), _bytes([Path(path)])) for path in sorted(named))
    return Outlook(trainer, len(found), len(captions), _bytes([*(image.path for image in found), *captions]), models)


def _bytes(files: Iterable[Path]) -> int:
    """The size of files, and of all files in folders; what cannot be read counts as nothing."""
    total = 0
    for file in files:
        with contextlib.suppress(OSError):
            total += (
                sum(each.stat().st_size for each in file.rglob("*") if each.is_file())
                if file.is_dir()
                else file.stat().st_size
            )
    return total


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
