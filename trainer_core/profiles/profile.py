"""The data of a profile: settings for a use, a reason for each, and their sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FORMAT = 2
"""The format of the profile files that Easel writes. Format 1 had sources as plain texts, and no reasons."""

NOT_RUN = "Not tested: the values are as published."


@dataclass(frozen=True)
class Reference:
    """A source of values. Easel never opens `url`; `notes` give details, such as a file and its version."""

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
    """A training run made with a profile: the engine, the GPU, and notes about the result."""

    engine: str
    version: str = ""
    card: str = ""
    notes: str = ""

    def __str__(self) -> str:
        return ", ".join(text for text in (f"{self.engine} {self.version}".strip(), self.card, self.notes) if text)


@dataclass(frozen=True)
class Profile:
    """One profile: what it is for, its values by dotted path, and the reason of each.

    `lineage` is the id of the finetunes it was made for ("pony"), "" for the family's original model; `prediction` is what
    the model must predict, "" for any; `policy` is the id of its prefill policy; `images`
    are the least and the most images that it is for, or only the least. `reasons` are by dotted path and cite
    sources by their ids in brackets. `unknown` lists settings whose value is not known, in a profile read from a LoRA.
    `format` is that of the file it was read from.
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
    images: tuple[int, ...] = ()
    author: str = ""
    licence: str = ""
    tested_on: tuple[Trial, ...] = ()
    unknown: tuple[str, ...] = ()
    format: int = FORMAT

    @property
    def tested(self) -> str:
        """Which engine and GPU it was tested with, as a sentence."""
        runs = "; ".join(str(trial) for trial in self.tested_on)
        return f"Tested with {runs}." if runs else NOT_RUN
