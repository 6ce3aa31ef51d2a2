"""The subject of a training: what is trained. The trigger word names it, else the name of the dataset's folder."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def subject_of(values: Mapping[str, Any]) -> str:
    """The normalized subject of a job's values, by dotted path; "" without a trigger word and a dataset."""
    return same(shown(values))


def shown(values: Mapping[str, Any]) -> str:
    """The subject of a job's values as the user wrote it."""
    trigger, folder = str(values.get("dataset.trigger") or ""), str(values.get("dataset.path") or "")
    return trigger.strip() or (Path(folder).name if folder.strip() else "")


def same(subject: str) -> str:
    """The normalized spelling of a subject: upper and lower case, and the number of spaces, do not matter."""
    return " ".join(unicodedata.normalize("NFC", subject).casefold().split())
