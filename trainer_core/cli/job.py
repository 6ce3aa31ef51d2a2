"""`easel plan` and `easel train`: a job from options, a profile, a preset or a plan file."""

from __future__ import annotations

import shlex
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from trainer_core import places
from trainer_core.cli import show
from trainer_core.cli.runs import follow_run, run_result
from trainer_core.errors import PlanError
from trainer_core.estimate import past_runs, words
from trainer_core.outlook import Outlook, outlook
from trainer_core.plan import applies, fields
from trainer_core.plan.applies import Scope
from trainer_core.plan.draft import Source, is_native
from trainer_core.plan.sections import MODEL_FILES
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
PATHS = frozenset({"dataset.path", "output.folder", "output.copy_to", *(f"model.{name}" for name in MODEL_FILES)})
"""Settings that name a file or folder."""
FEW = 6
"""Up to how many entries of the catalogue the help names that read a setting."""
TOPS = {
    "engine": "The training engine; default: the best installed one.",
    "policy": "A prefill policy by id, which sets what follows from the number of pictures; none: that of the profile.",
    "preset": "A memory preset by id, which goes over the profile; `easel presets` lists them.",
    "profile": "A profile by id, or a profile file.",
}
"""What a job has beside its settings, in options and on top of a plan file."""


def _option_name(path: str) -> str:
    return "--" + path.replace(".", "-").replace("_", "-")


def _parameter(path: str) -> str:
    return path.replace(".", "__")


def _metavar(setting: fields.SettingField) -> str:
    if setting.choices:
        return "|".join(choice or '""' for choice in setting.choices)
    kind = {bool: "true|false", int: "N", float: "NUMBER"}.get(setting.base_type, "TEXT")
    return f"{kind}|none" if setting.optional else kind


def _help(setting: fields.SettingField) -> str:
    """Title, unit and doc of a setting, and who reads it, where only a few choices of the catalogue do."""
    unit = f" [{setting.unit}]" if setting.unit else ""
    readers = applies.readers(setting.path)
    only = f" Only with {', '.join(readers)}." if 0 < len(readers) <= FEW else ""
    return f"{setting.title}{unit}: {setting.doc}{only}"


def job_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds one option a setting (derived from its declaration), and those that choose file, profile, preset and engine."""
    short = {path: name for name, path in SHORT.items()}
    for path, setting in reversed(list(fields.all_fields().items())):
        names = [short[path]] if path in short else []
        # The values are checked by the declaration itself, so that a wrong one is refused in the same words everywhere.
        kind = click.Choice(setting.choices) if setting.choices else str
        option = click.option(
            *names, _option_name(path), _parameter(path), type=kind, metavar=_metavar(setting), help=_help(setting)
        )
        function = option(function)
    function = click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="PATH=VALUE",
        help="Set any setting by its path; native.<engine>.<option> for an engine's own. none empties one that can be.",
    )(function)
    for name, text in TOPS.items():
        function = click.option(f"--{name}", default="", help=text)(function)
    return click.argument("plan_file", required=False, type=click.Path(path_type=Path))(function)


def _from_file(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings in a plan file, and what stands on top of them: `profile`, `preset` and `engine`."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} is not TOML: {error}.") from error
    except RecursionError as error:
        raise click.UsageError(f"{path} is nested too deeply.") from error
    tops = {name: str(data.pop(name, "")) for name in TOPS}
    data.pop("schema_version", None)
    return fields.flatten(data), tops


def _assigned(assignments: tuple[str, ...], options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings, and the native tables, that the options and `--set` name."""
    texts = {path: options.get(_parameter(path)) for path in fields.all_fields()}
    native: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        first, *keys = path.split(".")
        if equals and first == "native" and len(keys) > 1 and all(keys):
            native = _merged(native, _nested(keys, _toml_value(text)))
        elif equals and path in texts:
            texts[path] = text
        else:
            raise click.UsageError(
                f"--set {assignment}: write it as PATH=VALUE with a known path, such as network.rank=16."
            )
    values: dict[str, Any] = {}
    for path, text in texts.items():
        if text is not None:
            values[path], sentence = fields.from_text(path, text)
            if sentence:
                raise click.UsageError(sentence)
    return values, native


def _nested(keys: list[str], value: Any) -> Any:
    """The value inside a table for each key."""
    for key in reversed(keys):
        value = {key: value}
    return value


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables and what is in them; of two values the one above."""
    found = {**below}
    for key, value in above.items():
        known = below.get(key)
        found[key] = _merged(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return found


def _toml_value(text: str) -> Any:
    """What the text stands for in TOML (a number, true, a list, a quoted text); anything else is plain text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def bench_from(plan_file: Path | None, assignments: tuple[str, ...], options: dict[str, Any]) -> Workbench:
    """A workbench with a plan file's values and, above them, the options'."""
    values, tops = _from_file(plan_file) if plan_file is not None else ({}, dict.fromkeys(TOPS, ""))
    tops |= {name: options[name] for name in TOPS if options[name]}
    bench = Workbench(engine=tops["engine"], quick=False)
    bench.use_profile(tops["profile"])
    bench.use_preset(tops["preset"])
    if tops["policy"]:
        bench.use_policy(tops["policy"])
    assigned, native = _assigned(assignments, options)
    stated = values.get("native", {})
    # What is no table in the file is left for the draft to refuse.
    if native and is_native(stated):
        values["native"] = _merged(stated, native)
    bench.set({path: _absolute(path, value) for path, value in {**values, **assigned}.items()})
    return bench


def _absolute(path: str, value: Any) -> Any:
    """Paths as typed in a terminal are relative to where it stands; a run stands elsewhere."""
    return str(places.typed(value).absolute()) if path in PATHS and isinstance(value, str) and value else value


@click.command()
@job_options
@click.option("--json", "as_json", is_flag=True, help="Print values, problems, native files and command as JSON.")
def plan(plan_file: Path | None, assignments: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Show what would be trained, and start nothing.

    Shown are every value with its source, the engine's own files and its command, the estimate, and the problems. The exit
    code is 3 when one of them blocks.
    """
    bench = bench_from(plan_file, assignments, options)
    found = bench.problems
    files, command = {}, ()
    stands = blocking(bench.draft.problems(bench.backend))
    if not stands and (spec := bench.preview()) is not None:
        files, command = {str(name): text for name, text in spec.files.items()}, spec.command
    rows = setting_rows(bench.draft)
    seen = outlook(bench.draft, bench.backend, past_runs(places.runs()))
    found = (*found, *(seen.problems() if seen else ()))
    if as_json:
        problems = [problem.as_dict() for problem in found]
        numbers = seen.estimate.as_dict() if seen else None
        show.as_json({"values": rows, "problems": problems, "files": files, "command": command, "estimate": numbers})
    else:
        _show_rows(bench, rows)
        for name, text in files.items():
            show.line(f"\n--- {name}".strip(), "bold")
            for text_line in text.splitlines():
                show.line(text_line)
        if command:
            show.line("--- command", "bold")
            show.line(shlex.join(command))
        if seen:
            _show_outlook(seen)
        show.problems(found)
    sys.exit(PROBLEMS if blocking(found) else 0)


def _show_outlook(seen: Outlook) -> None:
    show.line("--- estimate", "bold")
    show.line(
        ". ".join(filter(None, (f"{seen.estimate.steps} steps", words.numbers(seen.estimate), seen.fit.sentence)))
    )
    for sentence in seen.estimate.basis:
        show.line(f"  {sentence}", "dim")


def _show_rows(bench: Workbench, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints the values that have a meaning for the job, and what was set beside them."""
    scope = Scope.of(bench.draft, bench.backend)
    known = fields.all_fields()
    shown = [path for path in rows if path not in known or scope.shows(path, Source[rows[path]["source"]])]
    cells = ((path, show.value(rows[path]["value"], scope.default(path)), _by(bench, path)) for path in shown)
    show.table(("setting", "value", "source"), cells)
    if left_out := len(rows) - len(shown):
        show.line(f"{left_out} settings have no meaning for this job and are left out; --json prints all.", "dim")


def _by(bench: Workbench, path: str) -> str:
    """Who set a value, by id: titles are too long for a table."""
    said = bench.origin(path).by
    chosen = (("profile", bench.profile), ("policy", bench.policy), ("preset", bench.preset))
    return next((f"{kind} {one.id}" for kind, one in chosen if one and said.endswith(f"{kind} {one.title}")), said)


@click.command()
@job_options
@click.option("--detach", is_flag=True, help="Return at once; `easel runs follow` shows the run.")
@click.option("--json", "as_json", is_flag=True, help="Print the run's folder, or its result, as JSON.")
def train(plan_file: Path | None, assignments: tuple[str, ...], detach: bool, as_json: bool, **options: Any) -> None:
    """Train: launch the engine and watch it.

    Ctrl+C leaves the run going. The exit code is 3 when a problem blocks the start, 1 when the run did not complete.
    """
    bench = bench_from(plan_file, assignments, options)
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
