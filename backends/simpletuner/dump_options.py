"""Lists the options of SimpleTuner. Run by that engine's own Python, through `trainer_core/install/inside/dump.py`.

Easel never imports this module: it imports the engine with all its model families.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Any


def programs(_path: str | None, options_of: Callable[[Any], dict]) -> Iterator[tuple[str, str, dict]]:
    """Yield (stem, program, options) of the only program: options from its parser, their model families from its registry.

    `families` names the model families that have an option, and is omitted if all have it. A field for JSON
    accepts a table or a list as well as text, and a field whose default is a number written as text accepts numbers.
    Source: simpletuner/helpers/configuration/cmd_args.py and cli_utils.py.
    """
    version = importlib.metadata.version("simpletuner")
    options = options_of(importlib.import_module("simpletuner.helpers.configuration.cmd_args").get_argument_parser())
    services = importlib.import_module("simpletuner.simpletuner_sdk.server.services.field_registry")
    for field in services.field_registry._fields.values():
        name = str(field.arg_name).lstrip("-").replace("-", "_")
        if name not in options:
            continue
        if field.model_specific:
            options[name]["families"] = sorted(field.model_specific)
        if field.field_type.value == "text_json" or _is_number(options[name]):
            options[name]["type"] = "any"
    yield version, f"SimpleTuner {version}", options


def _is_number(entry: dict[str, Any]) -> bool:
    if entry["type"] != "str" or "choices" in entry:
        return False
    try:
        float(entry.get("default", ""))
    except ValueError:
        return False
    return True
