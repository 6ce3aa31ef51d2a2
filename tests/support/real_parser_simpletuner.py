"""What SimpleTuner itself makes of rendered files. Run by that engine's own Python; no test imports it.

    python real_parser_simpletuner.py '{"jobs": [{"config": "/…/config.json", "data": "/…/multidatabackend.json"}]}'

A single argument that is a file is read. For each job the engine's own loader, its parser with all that follows, and its
checks of the data backends are asked. The last line of the output is a JSON list, for each job a list of
{"kind", "name", "message"}; kind is unknown (nothing of that name, or a word the parser would complete), type, data or refused.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Print what is wrong with each job."""
    given = sys.argv[1]
    task = json.loads(Path(given).read_text("utf-8") if given.endswith(".json") else given)
    os.environ["SIMPLETUNER_CONFIG_BACKEND"] = os.environ["CONFIG_BACKEND"] = "json"
    sys.argv = ["train.py"]
    print(json.dumps([list(_wrong(**job)) for job in task["jobs"]]))


def _wrong(config: str, data: str = ""):
    os.environ["CONFIG_PATH"] = config
    words = importlib.import_module("simpletuner.helpers.configuration.json_file").load_json_config()
    parser = importlib.import_module("simpletuner.helpers.configuration.cmd_args").get_argument_parser()
    found = list(_words(parser, words))
    yield from found
    if found:
        return
    arguments = None
    try:
        arguments = importlib.import_module("simpletuner.helpers.configuration.loader").load_config(exit_on_error=True)
    except (ValueError, TypeError, AttributeError, LookupError, OSError, RuntimeError, SystemExit) as error:
        yield {"kind": "refused", "name": "", "message": f"{type(error).__name__}: {error}"}
    if data:
        yield from _data(Path(data), vars(arguments) if arguments is not None else {})


def _words(parser: argparse.ArgumentParser, words: list[str]):
    """What the parser says of each word by itself, so that one mistake does not hide the next."""
    for word in words:
        option, _, value = word.partition("=")
        action = parser._option_string_actions.get(option)
        name = option.lstrip("-")
        if action is None:
            # argparse would complete a unique beginning of a name, without a word.
            yield {"kind": "unknown", "name": name, "message": "the parser has no option of exactly this name"}
            continue
        try:
            if "=" in word:
                parser._check_value(action, parser._get_value(action, value))
            elif action.nargs not in ("?", 0):
                raise argparse.ArgumentError(action, "a value is wanted")
        except argparse.ArgumentError as error:
            yield {"kind": "type", "name": name, "message": str(error)}


def _data(file: Path, arguments: dict):
    configs = importlib.import_module("simpletuner.helpers.data_backend.config")
    for entry in json.loads(file.read_text("utf-8")):
        try:
            configs.create_backend_config(entry, arguments).validate(arguments)
        except (ValueError, TypeError, AttributeError, LookupError, OSError) as error:
            yield {"kind": "data", "name": str(entry.get("id", "")), "message": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    main()
