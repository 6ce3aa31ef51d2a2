"""What musubi-tuner itself makes of rendered files. Run by that engine's own Python; no test imports it.

    python real_parser_musubi.py question.json

`question.json` is {"sources": "/engine/source", "jobs": [{"config": "…", "dataset": "…", "setup": "…", "commands": [[…], …]}]}. For
each job the parsers of its programs, the reading of its configuration and that of its dataset are asked. The last line of the
output is a JSON list, for each job a list of {"kind", "name", "message"}: kind is unknown (the parser would drop it without a
word), type, choice, refused or dataset; "shown" is no problem, but says what the dataset gives of an image: its caption, its size
and those of its control images.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class _Parsed(Exception):  # noqa: N818 - it is no error
    """Raised instead of running a program, after its parser has read the command."""


def main() -> None:
    """Print what is wrong with each job."""
    task = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    sys.path.insert(0, str(Path(task["sources"], "src")))
    print(json.dumps([list(_wrong(**job)) for job in task["jobs"]]))


def _wrong(config: str, dataset: str, setup: str, commands: list[list[str]]) -> Iterator[dict[str, str]]:
    same = importlib.import_module("real_parser_kohya")  # which compares with argparse, too
    for command in commands[:-1]:
        yield from _command(command)
    module = importlib.import_module(f"musubi_tuner.{Path(commands[-1][0]).stem}")
    common = importlib.import_module("musubi_tuner.training.parser_common")
    parser = getattr(module, setup)(common.setup_parser_common())
    known = vars(parser.parse_args([]))
    sys.argv = [commands[-1][0], "--config_file", config]
    arguments = common.read_config_from_file(parser.parse_args(), parser)
    actions = {action.dest: action for action in parser._actions}
    for name, value in same._merged(importlib.import_module("toml").load(config)).items():
        if name not in known:
            yield _problem("unknown", name, "the parser does not know it")
        elif getattr(arguments, name) != value:
            yield _problem("type", name, f"given {value!r}, read {getattr(arguments, name)!r}")
        else:
            yield from same._value(actions[name], name, value)
    yield from _dataset(module, arguments, dataset)


def _command(command: list[str]) -> Iterator[dict[str, str]]:
    """What the parser of a program that encodes says of its command."""
    module, parse = importlib.import_module(f"musubi_tuner.{Path(command[0]).stem}"), argparse.ArgumentParser.parse_args

    def only_parse(self: argparse.ArgumentParser, *_: Any) -> Any:
        parse(self)
        raise _Parsed

    argparse.ArgumentParser.parse_args = only_parse  # type: ignore[assignment]
    sys.argv = command
    try:
        module.main()
    except _Parsed:
        return
    except SystemExit as error:
        yield _problem("refused", Path(command[0]).stem, f"the program ended with status {error.code}")
    finally:
        argparse.ArgumentParser.parse_args = parse  # type: ignore[method-assign]


def _dataset(module: Any, arguments: argparse.Namespace, dataset: str) -> Iterator[dict[str, str]]:
    engine, voluptuous = (
        importlib.import_module("musubi_tuner.dataset.config_utils"),
        importlib.import_module("voluptuous"),
    )
    trainer = next(
        each for name, each in vars(module).items() if name.endswith("NetworkTrainer") and name != "NetworkTrainer"
    )()
    resolve = getattr(getattr(module, "qwen_image_utils", None), "resolve_model_version_args", None)
    if resolve is not None and hasattr(arguments, "model_version"):
        resolve(arguments)
    try:
        trainer.handle_model_specific_args(arguments)
        generator = engine.BlueprintGenerator(engine.ConfigSanitizer())
        found = generator.generate(engine.load_user_config(dataset), arguments, architecture=trainer.architecture)
        if all(
            Path(each.params.image_directory or each.params.image_jsonl_file).exists()
            for each in found.dataset_group.datasets
        ):
            yield from _shown(engine.generate_dataset_group_by_blueprint(found.dataset_group))
    except (voluptuous.Error, AssertionError, ValueError, TypeError, LookupError) as error:
        yield _problem("dataset", "", f"{type(error).__name__}: {error}")


def _shown(group: Any) -> Iterator[dict[str, str]]:
    for dataset in group.datasets:
        for _, batch in dataset.retrieve_latent_cache_batches(1):
            for item in batch:
                image = item.content[0] if isinstance(item.content, list) else item.content
                controls = [f"{each.shape[1]}x{each.shape[0]}" for each in item.control_content or ()]
                told = " ".join((f"{image.shape[1]}x{image.shape[0]}", *controls))
                yield _problem("shown", Path(item.item_key).stem, f"{item.caption}: {told}")


def _problem(kind: str, name: str, message: str) -> dict[str, str]:
    return {"kind": kind, "name": name, "message": message}


if __name__ == "__main__":
    main()
