"""`easel plan` and `easel train`: a job from options, a profile or a plan file."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from trainer_core import places
from trainer_core.cli import show
from trainer_core.cli.runs import follow_run, run_result
from trainer_core.errors import PlanError
from trainer_core.plan import fields
from trainer_core.plan.draft import is_native
from trainer_core.problems import blocking
from trainer_core.workbench import Workbench, setting_rows

PROBLEMS = 3
SHORT = {
    "--model": "model.path",
    "--dataset": "dataset.path",
    "--trigger": "dataset.trigger",
    "--name": "output.name",
    "--output": "output.folder",
    "--rank": "network.rank",
    "--alpha": "network.alpha",
    "--steps": "schedule.steps",
    "--learning-rate": "optimizer.learning_rate",
    "--resolution": "dataset.resolution",
}
"""Short names for what nearly every job sets; every setting also has its long option."""


def _option_name(path: str) -> str:
    return "--" + path.replace(".", "-").replace("_", "-")


def _parameter(path: str) -> str:
    return path.replace(".", "__")


def _metavar(setting: fields.SettingField) -> str:
    if setting.choices:
        return "|".join(choice or '""' for choice in setting.choices)
    return {bool: "true|false", int: "N", float: "NUMBER"}.get(setting.base_type, "TEXT")


def job_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds one option a setting (derived from its declaration), and those that choose file, profile and engine."""
    short = {path: name for name, path in SHORT.items()}
    for path, setting in reversed(list(fields.all_fields().items())):
        names = [short[path]] if path in short else []
        unit = f" [{setting.unit}]" if setting.unit else ""
        # The values are checked by the declaration itself, so that a wrong one is refused in the same words everywhere.
        kind = click.Choice(setting.choices) if setting.choices else str
        option = click.option(
            *names,
            _option_name(path),
            _parameter(path),
            type=kind,
            metavar=_metavar(setting),
            help=f"{setting.title}{unit}: {setting.doc}",
        )
        function = option(function)
    function = click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="PATH=VALUE",
        help="Set any setting by its path; native.<engine>.<option> for an engine's own.",
    )(function)
    function = click.option("--engine", default="", help="The training engine; default: the best installed one.")(
        function
    )
    function = click.option("--profile", default="", help="A profile by id, or a profile file.")(function)
    return click.argument("plan_file", required=False, type=click.Path(path_type=Path))(function)


def _from_file(path: Path) -> tuple[dict[str, Any], str, str]:
    """Settings, profile and engine in a plan file: the sections of a plan, and `profile` and `engine` on top."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} is not TOML: {error}.") from error
    except RecursionError as error:
        raise click.UsageError(f"{path} is nested too deeply.") from error
    profile, engine = str(data.pop("profile", "")), str(data.pop("engine", ""))
    data.pop("schema_version", None)
    return fields.flatten(data), profile, engine


def _assigned(assignments: tuple[str, ...], options: dict[str, str | None]) -> dict[str, Any]:
    texts = {path: options.get(_parameter(path)) for path in fields.all_fields()}
    values: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        engine, _, key = path.removeprefix("native.").partition(".")
        if equals and path.startswith("native.") and key:
            values.setdefault("native", {}).setdefault(engine, {})[key] = _toml_value(text)
        elif equals and path in texts:
            texts[path] = text
        else:
            raise click.UsageError(
                f"--set {assignment}: write it as PATH=VALUE with a known path, such as network.rank=16."
            )
    for path, text in texts.items():
        if text is not None:
            values[path], sentence = fields.from_text(path, text)
            if sentence:
                raise click.UsageError(sentence)
    return values


def _toml_value(text: str) -> Any:
    """What the text stands for in TOML (a number, true, a list, a quoted text); anything else is plain text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def bench_from(
    plan_file: Path | None,
    profile: str,
    engine: str,
    assignments: tuple[str, ...],
    options: dict[str, Any],
    quick: bool,
) -> Workbench:
    """A workbench with a plan file's values and, above them, the options'."""
    values: dict[str, Any] = {}
    if plan_file is not None:
        values, file_profile, file_engine = _from_file(plan_file)
        profile, engine = profile or file_profile, engine or file_engine
    bench = Workbench(engine=engine, quick=quick)
    bench.use_profile(profile)
    assigned = _assigned(assignments, options)
    native, stated = assigned.pop("native", {}), values.get("native", {})
    values |= assigned
    # What is no table in the file is left for the draft to refuse.
    if native and is_native(stated):
        merged = {engine: {**stated.get(engine, {}), **table} for engine, table in native.items()}
        values["native"] = {**stated, **merged}
    bench.set({path: _absolute(path, value) for path, value in values.items()})
    return bench


def _absolute(path: str, value: Any) -> Any:
    """Paths as typed in a terminal are relative to where it stands; a run stands elsewhere."""
    if (
        path in ("model.path", "model.vae", "dataset.path", "output.folder", "output.copy_to")
        and isinstance(value, str)
        and value
    ):
        return str(places.typed(value).absolute())
    return value


@click.command()
@job_options
@click.option("--json", "as_json", is_flag=True, help="Print values, problems, native files and command as JSON.")
def plan(
    plan_file: Path | None, profile: str, engine: str, assignments: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Show what would be trained: every value with its source, the problems, and the engine's own files."""
    bench = bench_from(plan_file, profile, engine, assignments, options, quick=False)
    found = bench.problems
    files, command = {}, ()
    stands = blocking(bench.draft.problems(bench.backend))
    if not stands and (spec := bench.preview()) is not None:
        files, command = {str(name): text for name, text in spec.files.items()}, spec.command
    rows = setting_rows(bench.draft)
    if as_json:
        problems = [problem.as_dict() for problem in found]
        show.as_json({"values": rows, "problems": problems, "files": files, "command": command})
    else:
        show.table(("setting", "value", "source"), ((path, row["value"], row["source"]) for path, row in rows.items()))
        for name, text in files.items():
            show.line(f"\n--- {name}".strip(), "bold")
            for text_line in text.splitlines():
                show.line(text_line)
        if command:
            show.line("--- command", "bold")
            show.line(" ".join(command))
        show.problems(found)
    sys.exit(PROBLEMS if blocking(found) else 0)


@click.command()
@job_options
@click.option("--detach", is_flag=True, help="Return at once; `easel runs follow` shows the run.")
@click.option("--json", "as_json", is_flag=True, help="Print the run's folder, or its result, as JSON.")
def train(
    plan_file: Path | None,
    profile: str,
    engine: str,
    assignments: tuple[str, ...],
    detach: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train: launch the engine and watch it. Ctrl+C leaves the run going."""
    bench = bench_from(plan_file, profile, engine, assignments, options, quick=False)
    try:
        run = bench.start()
    except PlanError as error:
        show.problems(error.problems)
        raise
    if not as_json:
        show.line(f"Run {run.directory.path.name} in {run.directory.path}")
    if detach:
        if as_json:
            show.as_json({"run": run.directory.path.name, "folder": run.directory.path})
        return
    follow_run(run, quiet=as_json)
    sys.exit(run_result(run, as_json))
