"""Lists the options of sd-scripts. Run by that engine's own Python, through `trainer_core/install/inside/dump.py`.

Easel never imports this module: it imports the engine's training scripts.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

STYLES = {"": "db", "_finetuning": "ft", "_controlnet": "cn"}
"""The ending of a schema file's name, and the style of dataset it describes, as named in library/config_util.py."""

_KINDS = ("bool", "int", "float", "str")


def programs(path: str, options_of: Callable[[Any], dict]) -> Iterator[tuple[str, str, dict | str]]:
    """Yield (stem, program, options or the reason why there are none) for each training script and each dataset table."""
    sys.path.insert(0, path)
    for script in sorted(Path(path).glob("*.py")):
        source = script.read_text("utf-8")
        # A script is a training script if it reads its settings from a file.
        if "def setup_parser(" in source and "read_config_from_file(" in source:
            yield script.stem, script.name, _script(script.stem, options_of)
    config = importlib.import_module("library.config_util")
    sanitizer = config.ConfigSanitizer(
        support_dreambooth=True, support_finetuning=True, support_controlnet=True, support_dropout=True
    )
    yield "general", "library/config_util.py (general)", _table(sanitizer.general_schema)
    for ending, style in STYLES.items():
        for table in ("dataset", "subset"):
            shown = f"library/config_util.py ({table}{ending.replace('_', ', ')})"
            yield table + ending, shown, _table(getattr(sanitizer, f"{style}_{table}_schema"))


def _script(stem: str, options_of: Callable[[Any], dict]) -> dict | str:
    try:
        return options_of(importlib.import_module(stem).setup_parser())
    except (ImportError, AttributeError) as error:
        return str(error)


def _table(schema: dict[Any, Any]) -> dict[str, dict[str, str]]:
    """The types of a voluptuous schema; "any" for a function or a nested schema, which only the engine can check."""
    either = importlib.import_module("voluptuous").Any
    found = {}
    for key, value in schema.items():
        kind = "int_or_float" if isinstance(value, either) else getattr(value, "__name__", "any")
        found[str(key)] = {"type": kind if kind in (*_KINDS, "int_or_float") else "any"}
    return found
