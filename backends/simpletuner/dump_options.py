"""What SimpleTuner says about its own options. Run by that engine's own Python, through `trainer_core/engine_dump.py`.

Easel never imports it: it imports the engine, and with it every model family the engine knows.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Any


def programs(_path: str | None, options_of: Callable[[Any], dict]) -> Iterator[tuple[str, str, dict]]:
    """Yield (stem, program, options) of the one program: its parser, and from its registry whose options they are.

    `families` names the model families that have an option, and is left out where all have it. A field that holds JSON
    takes a table or a list as well as text, and one whose default is a number written as text takes numbers.
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
