"""What sd-scripts itself makes of rendered files. Run by that engine's own Python; no test imports it.

    python real_parser_kohya.py '{"sources": "/engine/source", "jobs": [{"script": "train_network.py", "config": "…", "dataset": "…"}]}'

A single argument that is a file is read. For each job the script's own parser, its reading of a configuration, its checks
that need no model, and its schema of a dataset are asked. The last line of the output is a JSON list, for each job a list of
{"kind", "name", "message"}; kind is unknown (the parser would drop it without a word), type, choice, dataset or refused.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def main() -> None:
    """Print what is wrong with each job."""
    given = sys.argv[1]
    task = json.loads(Path(given).read_text("utf-8") if given.endswith(".json") else given)
    sys.path.insert(0, task["sources"])
    print(json.dumps([list(_wrong(**job)) for job in task["jobs"]]))


def _wrong(script: str, config: str, dataset: str = ""):
    module, utilities = importlib.import_module(Path(script).stem), importlib.import_module("library.train_util")
    parser = module.setup_parser()
    known = vars(parser.parse_args([]))
    sys.argv = [script, "--config_file", config]
    try:
        arguments = utilities.read_config_from_file(parser.parse_args(), parser)
    except SystemExit as error:
        yield _problem("refused", "config_file", f"the engine ended with status {error.code}")
        return
    given = _merged(importlib.import_module("toml").load(config))
    actions = {action.dest: action for action in parser._actions}
    for name, value in given.items():
        if name not in known:
            yield _problem("unknown", name, "the parser does not know it")
        elif getattr(arguments, name) != value and name != "config_file":
            yield _problem("type", name, f"given {value!r}, read {getattr(arguments, name)!r}")
        else:
            yield from _value(actions[name], name, value)
    yield from _checked(module, utilities, arguments)
    if dataset:
        yield from _dataset(module, arguments, dataset)


def _merged(tables: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name, value in tables.items():
        merged.update(value if isinstance(value, dict) else {name: value})
    return merged


def _value(action: argparse.Action, name: str, value: Any):
    """What argparse would say of a value on the command line; of one from a file it says nothing."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            yield _problem("type", name, f"{value!r} where the parser has true or false")
        return
    many = action.nargs in ("*", "+")
    if many and not isinstance(value, list):
        yield _problem("type", name, f"{value!r} where the parser has a list")
        return
    for item in value if many else [value]:
        kind = action.type or str
        if not _fits(kind, item):
            yield _problem("type", name, f"{item!r} where the parser has {getattr(kind, '__name__', kind)}")
        elif action.choices is not None and item not in action.choices:
            yield _problem("choice", name, f"{item!r} is none of {list(action.choices)}")


def _fits(kind: Any, value: Any) -> bool:
    if kind in (str, Path):
        return isinstance(value, str)
    if isinstance(value, (bool, list, dict, str)):
        return False
    return isinstance(value, int) if kind is int else isinstance(value, (int, float))


def _checked(module: ModuleType, utilities: ModuleType, arguments: argparse.Namespace):
    """What the script checks of all options before it reads a model or an image."""
    try:
        utilities.verify_training_args(arguments)
        utilities.prepare_dataset_args(arguments, *_called_with(module, "prepare_dataset_args", arguments)[1:])
    except (AssertionError, ValueError, TypeError, AttributeError) as error:
        yield _problem("refused", "", f"{type(error).__name__}: {error}")


def _dataset(module: ModuleType, arguments: argparse.Namespace, dataset: str):
    config, voluptuous = importlib.import_module("library.config_util"), importlib.import_module("voluptuous")
    try:
        sanitizer = config.ConfigSanitizer(*_called_with(module, "ConfigSanitizer", arguments))
        config.BlueprintGenerator(sanitizer).generate(config.load_user_config(dataset), arguments)
    except (voluptuous.Error, AssertionError, ValueError, TypeError, LookupError) as error:
        yield _problem("dataset", "", f"{type(error).__name__}: {error}")


def _called_with(module: ModuleType, function: str, arguments: argparse.Namespace) -> list[Any]:
    """What the script, or the one it is derived from, calls a function with."""
    bases = [other for other in vars(module).values() if inspect.ismodule(other) and hasattr(other, "setup_parser")]
    for source in (module, *bases):
        for node in ast.walk(ast.parse(inspect.getsource(source))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == function:
                return [_means(value, arguments) for value in node.args]
    raise LookupError(f"{module.__name__} does not call {function}")


def _means(node: ast.expr, arguments: argparse.Namespace) -> Any:
    if isinstance(node, ast.Attribute):
        return getattr(arguments, node.attr)
    return node.value if isinstance(node, ast.Constant) else None


def _problem(kind: str, name: str, message: str) -> dict[str, str]:
    return {"kind": kind, "name": name, "message": message}


if __name__ == "__main__":
    main()
