"""Which folders survive the end of a session on this platform, in sentences, and where Easel's own folders lie by default."""

from __future__ import annotations

import os
from pathlib import Path

from trainer_core.providers import detection
from trainer_core.providers.table import Kept, Provider


def home() -> Path | None:
    """The folder that Easel uses by default on this platform; None if it has none, or its disk is not there."""
    return _where_there_is_room(detection.current().home)


def scratch() -> Path | None:
    """The folder of this platform for what can be installed again; None if there is none of its own."""
    return _where_there_is_room(detection.current().scratch)


def _where_there_is_room(text: str) -> Path | None:
    return Path(text) if text and os.access(Path(text).parent, os.W_OK | os.X_OK) else None


def keeper(path: Path, provider: Provider | None = None) -> Kept | None:
    """The row of the folder that survives and contains this path; None if the path is in no such folder."""
    provider = provider or detection.current()
    real = Path(os.path.realpath(path))
    return next((kept for kept in provider.kept if real.is_relative_to(os.path.realpath(kept.path))), None)


def sentence(path: Path, provider: Provider | None = None) -> str:
    """What happens to results in this folder when the session ends; "" on a machine whose sessions do not end."""
    provider = provider or detection.current()
    if not provider.is_hosted:
        return ""
    kept = keeper(path, provider)
    if kept is None:
        return f"{provider.title}: this folder does not survive the end of a session. {survivors(provider)}"
    condition = f", if {kept.condition}" if kept.condition else ""
    return f"{provider.title}: this folder survives the end of a session{condition}."


def survivors(provider: Provider | None = None) -> str:
    """The folders that survive the end of a session, as a sentence; "" if the table knows none."""
    provider = provider or detection.current()
    if not provider.kept:
        return ""
    each = [
        f"{kept.path}{f' survives if {kept.condition}' if kept.condition else ' survives'}" for kept in provider.kept
    ]
    return f"{'; '.join(each)}. Lost: {provider.lost}." if provider.lost else f"{'; '.join(each)}."
