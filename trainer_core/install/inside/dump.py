"""Records an engine's own options. Run as a file by that engine's own Python, never by Easel's.

    python dump.py '{"dump": "/…/dump_options.py", "to": "/folder", "path": "/sources, or null", "version": "48d368f"}'

The engine's `dump_options.py` has `programs(path, options_of)`, which yields (stem, program, options or why there are none).
Each becomes `<stem>.json` in `to`; `accelerate_launch.json` is added. Options that all parsers of an engine share are written
once, to `common.json`. Only names, types, choices and defaults are recorded: the help texts belong to the engine.
The last line of the output is a JSON object: `programs` {stem: number of options}, `failed` {stem: reason}, `seconds`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import runpy
import sys
import time
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

COMMON = "common.json"
LAUNCHER = "accelerate_launch"

Options = dict[str, dict[str, Any]]

_LONGEST = 200
"""Characters. A longer default is prose, which belongs to the engine."""
_SPELLED = {"Path": "path", "str_to_bool": "bool", "parse_bool_flag": "bool"}
_KINDS = ("str", "path", "int", "float", "int_or_float", "bool")


def options_of(parser: argparse.ArgumentParser) -> Options:
    """{name: {"type", "action", "many", "choices", "default"}} of a parser's named arguments."""
    actions = parser._actions  # noqa: SLF001 - argparse has no public way to list its arguments
    return {action.dest: entry_of(action) for action in actions if action.option_strings and action.dest != "help"}


def entry_of(action: argparse.Action) -> dict[str, Any]:
    """What is recorded of one argument; keys without information are left out."""
    kind = type(action).__name__.lstrip("_")
    entry: dict[str, Any] = {"type": _type(action), "action": kind}
    if action.nargs in ("*", "+") or (isinstance(action.nargs, int) and action.nargs > 0) or kind == "AppendAction":
        entry["many"] = True
    if action.choices is not None:
        entry["choices"] = [plain(choice) for choice in action.choices]
    default = plain(action.default)
    if default is not None and default != argparse.SUPPRESS and len(str(default)) <= _LONGEST:
        entry["default"] = default
    return entry


def _type(action: argparse.Action) -> str:
    if action.nargs == 0:
        return "bool" if isinstance(action.const, bool) else "any"
    name = "str" if action.type is None else getattr(action.type, "__name__", "any").lstrip("_")
    name = _SPELLED.get(name, name)
    return name if name in _KINDS else "any"


def plain(value: Any) -> Any:
    """A default or a choice as a JSON value."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def launcher() -> tuple[str, str, Options | str]:
    """(stem, program, options or the reason why not) of `accelerate launch` in this environment."""
    try:
        launch = importlib.import_module("accelerate.commands.launch")
        return LAUNCHER, "accelerate launch", options_of(launch.launch_command_parser())
    except (ImportError, AttributeError) as error:
        return LAUNCHER, "accelerate launch", str(error)


def shared(parsers: Sequence[Options]) -> Options:
    """The options that are the same in every parser; none when there is only one parser."""
    if len(parsers) < 2:
        return {}
    first, *others = parsers
    return {name: entry for name, entry in first.items() if all(other.get(name) == entry for other in others)}


def text(program: str, version: str, options: Mapping[str, Any], common: Container[str] = ()) -> str:
    """The text of one file, one option a line so that two versions compare well; options in `common` are left out."""
    head = {"program": program, "version": version, **({"common": COMMON} if common else {})}
    lines = [f"  {json.dumps(name)}: {json.dumps(options[name])}" for name in sorted(options) if name not in common]
    return f'{json.dumps(head)[:-1]}, "options": {{\n' + ",\n".join(lines) + "\n}}\n"


def main() -> None:
    """Write the files and print what was recorded."""
    started = time.monotonic()
    task = json.loads(sys.argv[1])
    programs = runpy.run_path(task["dump"])["programs"]
    answers = [*programs(task.get("path"), options_of), launcher()]
    found = {stem: (program, options) for stem, program, options in answers if not isinstance(options, str)}
    # The table of a dataset has no actions, and the launcher is not a program of the engine.
    parsers = [stem for stem, (_, options) in found.items() if stem != LAUNCHER and "action" in str(options)]
    common = shared([found[stem][1] for stem in parsers])
    folder, version = Path(task["to"]), task["version"]
    if common:
        (folder / COMMON).write_text(text("all programs", version, common), "utf-8")
    for stem, (program, options) in found.items():
        whole = text(program, version, options, common if stem in parsers else ())
        (folder / f"{stem}.json").write_text(whole, "utf-8")
    seen = {
        "programs": {stem: len(options) for stem, (_, options) in found.items()},
        "failed": {stem: reason for stem, _, reason in answers if isinstance(reason, str)},
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
