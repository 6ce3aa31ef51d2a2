"""Whether a training needs the Hugging Face Hub, and with it the user's token: an engine inherits no other secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from trainer_core import places
from trainer_core.child import ADDRESSES
from trainer_core.install import hub_files
from trainer_core.models import tokens

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest
    from trainer_core.plan.sections import TrainingPlan

VARIABLES = (*tokens.SITES["huggingface"].names, *ADDRESSES)
"""The token, and the addresses without which the Hub cannot be reached: they may contain a password."""
_REPOSITORY = re.compile(r"[\w-][\w.-]{0,95}/[\w.-]{1,96}", re.ASCII)


def variables(plan: TrainingPlan, manifest: BackendManifest) -> tuple[str, ...]:
    """The variables that the engine inherits for this plan although they may be secret; none if it needs nothing of the Hub.

    It needs the Hub for the files of its `hub.toml` that are not on this machine, and for native settings that name a
    repository. Models are always files here.
    """
    is_folder = places.typed(plan.model.path).is_dir() if plan.model.path else False
    if hub_files.missing(manifest, plan.model.family, plan.model.variant, is_folder=is_folder):
        return VARIABLES
    own = plan.native.get(manifest.id, {})
    return VARIABLES if any(map(_names_repository, own.values())) else ()


def _names_repository(value: Any) -> bool:
    return any(_REPOSITORY.fullmatch(text) and not places.is_there(places.typed(text)) for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        # An option that takes several has them in one text, such as key=value pairs.
        yield from re.split(r"[\s=,]+", value)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
