"""Lists the options of musubi-tuner. Run by that engine's own Python, through `trainer_core/install/inside/dump.py`.

Easel never imports this module: it imports the engine's programs.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PARSERS = {
    "qwen_image_train_network": "qwen_image_setup_parser",
    "zimage_train_network": "zimage_setup_parser",
    "krea2_train_network": "krea2_setup_parser",
    "flux_2_train_network": "flux2_setup_parser",
    "flux_kontext_train_network": "flux_kontext_setup_parser",
}
"""The programs that train a network on an image model, and the function of each that adds its own options."""


def programs(path: str, options_of: Callable[[Any], dict]) -> Iterator[tuple[str, str, dict | str]]:
    """Yield (stem, program, options or the reason why there are none) for each program and for the table of a dataset."""
    sys.path.insert(0, str(Path(path) / "src"))
    for stem, own in PARSERS.items():
        yield stem, f"{stem}.py", _program(stem, own, options_of)
    sanitizer = importlib.import_module("musubi_tuner.dataset.config_utils").ConfigSanitizer()
    yield "dataset", "dataset/config_utils.py", _table(sanitizer.image_dataset_schema)


def _program(stem: str, own: str, options_of: Callable[[Any], dict]) -> dict | str:
    try:
        common = importlib.import_module("musubi_tuner.training.parser_common").setup_parser_common()
        return options_of(getattr(importlib.import_module(f"musubi_tuner.{stem}"), own)(common))
    except (ImportError, AttributeError) as error:
        return str(error)


def _table(schema: dict[Any, Any]) -> dict[str, dict[str, Any]]:
    """The types of a voluptuous schema; "any" for a function, which only the engine can check."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in schema.items():
        of_list = isinstance(value, list)
        kind = getattr(value[0] if of_list else value, "__name__", "any")
        found[str(key)] = {
            "type": kind if kind in ("bool", "int", "float", "str") else "any",
            **({"many": True} if of_list else {}),
        }
    return found
