"""The plan as it is written into a result: without paths, and without what belongs to a person."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from trainer_core.plan import fields
from trainer_core.plan.prompts import with_texts
from trainer_core.plan.subsets import LIST, with_paths
from trainer_core.text import without_secrets
from trainer_core.training.metadata import privacy


def shared(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a plan that may be published with its result.

    A path that Easel reads becomes the name of its file or folder. Paths that Easel writes to, and settings that belong to a
    person, are left out. In the engine's own options each path becomes a file name, too.
    """
    flat = fields.flatten(plan)
    kept: dict[str, Any] = {}
    for path, setting in fields.all_fields().items():
        value = flat.get(path)
        if value is None or setting.owner == "person" or setting.about.written:
            continue
        if setting.about.path:
            value = privacy.file_name(value) if isinstance(value, str) else value
            if not value:
                continue
        elif path == LIST:
            value = with_paths(value, privacy.file_name) if _is_tables(value) else None
            if not value:
                continue
            value = with_texts(value, without_secrets)
        elif not setting.choices:
            value = with_texts(value, without_secrets)
        kept[path] = value
    if native := flat.get("native"):
        kept["native"] = privacy.each_text(native, privacy.without_paths)
    return fields.nest({path: _finite(value) for path, value in kept.items()})


def _is_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, Mapping) for each in value)


def _finite(value: Any) -> Any:
    """A value of a plan, in which a number that JSON cannot express is its text: somebody may have edited the plan."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def canonical(tables: Mapping[str, Any]) -> str:
    """The JSON text of a plan: the same plan always gives the same text, in ASCII and without spaces."""
    return json.dumps(tables, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(text: str) -> str:
    """The SHA-256 of a text, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()
