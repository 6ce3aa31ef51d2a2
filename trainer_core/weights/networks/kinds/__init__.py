"""The kinds of modules of networks, one file each: what its tensors mean for the weight of its layer. Not: finding the layer."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping

from trainer_core.weights.networks.kinds.kind import Kind


@functools.cache
def by_layout() -> Mapping[str, Kind]:
    """The kind for each layout of `models.detection.layouts` whose change can be computed."""
    names = (each.name for each in pkgutil.iter_modules(__path__) if each.name != "kind")
    kinds = [importlib.import_module(f"{__name__}.{name}").kind for name in names]
    return {layout: kind for kind in kinds for layout in kind.layouts}
