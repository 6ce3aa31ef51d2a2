"""Writes a profile as the text of its file."""

from __future__ import annotations

import dataclasses
from typing import Any

from trainer_core.plan import fields
from trainer_core.profiles.checks import OPTIONAL_TEXTS, REQUIRED_TEXTS
from trainer_core.profiles.profile import FORMAT, Profile


def dumps(profile: Profile) -> str:
    """The profile as TOML in the current format, without empty keys."""
    import tomli_w

    return tomli_w.dumps(_tables(profile))


def _tables(profile: Profile) -> dict[str, Any]:
    texts = {key: getattr(profile, key) for key in (*REQUIRED_TEXTS, *OPTIONAL_TEXTS)}
    settings = {path: value for path, value in profile.settings.items() if path != "model.method"}
    found = {
        "format": FORMAT,
        **texts,
        "images": list(profile.images),
        "unknown": list(profile.unknown),
        "sources": [_filled(source) for source in profile.sources],
        "tested_on": [_filled(trial) for trial in profile.tested_on],
        "settings": fields.nest(settings),
        "reasons": fields.nest(profile.reasons),
    }
    return {key: value for key, value in found.items() if value}


def _filled(entry: Any) -> dict[str, str]:
    return {key: text for key, text in dataclasses.asdict(entry).items() if text}
