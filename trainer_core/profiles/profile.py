"""What a profile is: settings for a use, a reason for each, and where they come from. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer_core.plan.sections import PARTS

FORMAT = 2
"""The format of profile files that is written. 1 had its sources as plain texts, and no reasons."""

JOB_FIELDS = frozenset(
    {
        "model.path",
        "model.family",
        "model.prediction",
        "model.zero_terminal_snr",
        "model.method",
        *(f"model.{part}" for part in PARTS),
        "dataset.path",
        "dataset.trigger",
        "output.name",
        "output.prefix",
        "output.folder",
        "output.copy_to",
    }
)
"""Settings that belong to a person's job and not to shared knowledge."""

NOT_RUN = "Not run here: the values are as published."


@dataclass(frozen=True)
class Reference:
    """Where values come from. `url` is text to read, never followed; `notes` say what exactly, such as a file and its version."""

    id: str
    title: str
    url: str = ""
    licence: str = ""
    notes: str = ""

    def __str__(self) -> str:
        details = ", ".join(text for text in (self.notes, self.url) if text)
        return f"{self.title} ({details})" if details else self.title


@dataclass(frozen=True)
class Trial:
    """A training that was made with a profile: by which engine, on which card, and what came of it."""

    engine: str
    version: str = ""
    card: str = ""
    notes: str = ""

    def __str__(self) -> str:
        return ", ".join(text for text in (f"{self.engine} {self.version}".strip(), self.card, self.notes) if text)


@dataclass(frozen=True)
class Profile:
    """One profile: what it is for, its values by dotted path, and why each is so.

    `lineage` is the id of the finetunes it was made for ("pony"), "" for the family's own model; `prediction` what the model
    must predict, "" where it does not matter; `policy` the id of the prefill policy that goes with it. `reasons` are by the
    path of the setting and cite sources by their ids in brackets. `unknown` are settings whose value nobody knows, in a
    profile that was read out of a LoRA. `format` is that of the file it was read from.
    """

    id: str
    title: str
    family: str
    method: str
    use: str
    explanation: str
    sources: tuple[Reference, ...]
    settings: Mapping[str, Any]
    reasons: Mapping[str, str] = field(default_factory=dict)
    lineage: str = ""
    prediction: str = ""
    policy: str = ""
    author: str = ""
    licence: str = ""
    tested_on: tuple[Trial, ...] = ()
    unknown: tuple[str, ...] = ()
    format: int = FORMAT

    @property
    def tested(self) -> str:
        """Where it was run, as a sentence."""
        runs = "; ".join(str(trial) for trial in self.tested_on)
        return f"Run with {runs}." if runs else NOT_RUN
