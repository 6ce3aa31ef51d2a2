"""`easel plan` and `easel train`: a training job from options, a profile, a preset or a plan file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer_core import places
from trainer_core.cli import files, folders_shown, from_result, queueing, shortcuts, show
from trainer_core.cli.runs import find_run, follow_run, run_result
from trainer_core.draft.layers import Source, is_native
from trainer_core.errors import EaselError, PlanError
from trainer_core.estimate import find_gpu_processes, formatting, past_runs
from trainer_core.files import read_toml
from trainer_core.plan import fields
from trainer_core.plan.elsewhere import is_named_there, is_on_hub
from trainer_core.prepare import entering, image_folders, provenance
from trainer_core.prepare.forecast import Forecast, forecast
from trainer_core.prepare.native import merged
from trainer_core.prepare.preview import preview
from trainer_core.prepare.workbench import HUB_S, Workbench, setting_rows
from trainer_core.problems import blocking
from trainer_core.training.run import Run

if TYPE_CHECKING:
    from trainer_core.plan.sections import TrainingPlan
    from trainer_core.prepare.sweep import Changes

PROBLEMS = 3
FEW = 6
"""The help of a setting lists the catalogue entries that use it when there are at most this many."""
TOPS = {
    "engine": "The training engine. Default: the best installed one.",
    "policy": "The id of a prefill policy, which sets values by the number of images, or none. Default: the profile's policy; without a profile, one for the model.",
    "preset": "The id of a memory preset, which overrides the profile; `easel presets` lists them.",
    "profile": "The id of a profile, a profile file, or plain for the defaults without recommended values.",
}
"""What a job has besides its settings: options, and entries at the top of a plan file."""


def _option_name(path: str) -> str:
    return "--" + path.replace(".", "-").replace("_", "-")


def _parameter(path: str) -> str:
    return path.replace(".", "__")


def _metavar(setting: fields.SettingField) -> str:
    if setting.choices:
        return "|".join(choice or '""' for choice in setting.choices)
    kind = {bool: "true|false", int: "N", float: "NUMBER", tuple: "LINES|JSON"}.get(setting.base_type, "TEXT")
    return f"{kind}|none" if setting.optional else kind


def _help(setting: fields.SettingField) -> str:
    """The title, unit and doc of a setting, and the catalogue entries that use it if there are only a few."""
    unit = f" [{setting.unit}]" if setting.unit else ""
    readers = fields.readers(setting.path)
    only = f" Only with {', '.join(readers)}." if 0 < len(readers) <= FEW else ""
    only += " One on each line, or a JSON list." if setting.is_list else ""
    return f"{setting.title}{unit}: {setting.doc}{only}"


def job_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds one option per setting, derived from its declaration, and the options for file, profile, preset and engine."""
    for path, setting in reversed(list(fields.all_fields().items())):
        names = [setting.about.option] if setting.about.option else []
        # The declaration checks the values, so that a wrong one gets the same message everywhere.
        kind = click.Choice(setting.choices) if setting.choices else str
        option = click.option(
            *names, _option_name(path), _parameter(path), type=kind, metavar=_metavar(setting), help=_help(setting)
        )
        function = option(function)
    function = shortcuts.shortcut_options(function)
    function = click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="PATH=VALUE",
        help="Set any setting by its path, or an engine's own option by native.<engine>.<option>. The value none clears an optional setting.",
    )(function)
    for name, text in TOPS.items():
        function = click.option(f"--{name}", default="", help=text)(function)
    from_file = click.Path(path_type=Path)
    function = click.option("--from", "from_result", type=from_file, help=from_result.HELP)(function)
    return click.argument("plan_file", required=False, type=click.Path(path_type=Path))(function)


def _from_file(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings in a plan file, and the entries at its top, such as `profile`, `preset` and `engine`."""
    try:
        data = read_toml(path)
    except EaselError as error:
        raise click.UsageError(str(error)) from error
    tops = {name: str(data.pop(name, "")) for name in TOPS}
    data.pop("schema_version", None)
    return fields.flatten(data), tops


def _assigned(assignments: tuple[str, ...], options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings and the native tables that the options and `--set` give."""
    texts = {path: options.get(_parameter(path)) for path in fields.all_fields()}
    native: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        first, *keys = path.split(".")
        if equals and first == "native" and len(keys) > 1 and all(keys):
            native = _merged(native, _nested(keys, entering.toml_value(text)))
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
    """The value in nested tables, one per key."""
    for key in reversed(keys):
        value = {key: value}
    return value


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables merged, with the tables in them; of two values, that of `above`."""
    found = {**below}
    for key, value in above.items():
        known = below.get(key)
        found[key] = _merged(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return found


def _value_of(path: str, text: str) -> Any:
    """The value of one setting, or of an engine's option by its path, as it is typed in a terminal.

    Raises:
        click.UsageError: there is no such setting, or it cannot have this value.
    """
    values, native = _assigned((f"{path}={text}",), {})
    for key in path.split(".")[1:] if native else ():
        native = native[key]
    return values.get(path, native)


def assign(bench: Workbench, assignments: tuple[str, ...]) -> None:
    """Sets the values of `--set` options on a workbench.

    Raises:
        click.UsageError: there is no such setting, or it cannot have this value.
    """
    values, native = _assigned(assignments, {})
    _set(bench, values, native)


def _set(bench: Workbench, values: dict[str, Any], native: dict[str, Any]) -> None:
    stated = values.get("native", bench.state.draft.values.get("native", {}))
    # The draft refuses a value in a file that is not a table.
    if native and is_native(stated):
        values = {**values, "native": merged(stated, native)}
    bench.set({path: _absolute(path, value) for path, value in values.items()})


def bench_from(
    plan_file: Path | None, assignments: tuple[str, ...], options: dict[str, Any], like: Run | None = None
) -> Workbench:
    """A workbench with the values of a plan file or of an earlier run and, above them, those of the options."""
    if like is not None:
        return _bench_like(like, plan_file, assignments, options)
    result = options.get("from_result")
    if plan_file is not None and result is not None:
        raise click.UsageError("Use either a plan file or --from, not both.")
    values, tops = _from_file(plan_file) if plan_file is not None else ({}, dict.fromkeys(TOPS, ""))
    if result is not None:
        found = from_result.read(result)
        values, tops["engine"], tops["profile"] = dict(found.values), found.engine, "plain"
    tops |= {name: options[name] for name in TOPS if options[name]}
    bench = Workbench(engine=tops["engine"], quick=False)
    bench.use_profile(tops["profile"])
    bench.use_preset(tops["preset"])
    if tops["policy"]:
        bench.use_policy(tops["policy"])
    assigned, native = _assigned(assignments, options)
    _set(bench, {**values, **assigned}, native)
    shortcuts.apply(bench, options)
    return bench


def _bench_like(like: Run, plan_file: Path | None, assignments: tuple[str, ...], options: dict[str, Any]) -> Workbench:
    """A workbench with the values of an earlier run; its profile, preset, policy and engine can be replaced."""
    if plan_file is not None:
        raise click.UsageError("Give a plan file or --like, not both.")
    bench = queueing.bench_like(like)
    if options["engine"]:
        bench.use_engine(options["engine"])
    for name, use in (("profile", bench.use_profile), ("preset", bench.use_preset), ("policy", bench.use_policy)):
        if options[name]:
            use(options[name])
    _set(bench, *_assigned(assignments, options))
    shortcuts.apply(bench, options)
    return bench


def _absolute(path: str, value: Any) -> Any:
    """A path made absolute: it was typed relative to the current folder, and a run has another one.

    A link to a model stays as it is; a Problem then says how to download it. So does the name that another machine has for one.
    """
    known = fields.all_fields()
    is_path = path in known and known[path].about.path and isinstance(value, str) and value
    is_elsewhere = is_path and known[path].section == "model" and (is_named_there(value) or _is_link(value))
    if not is_path or is_elsewhere or is_on_hub(path, value):
        return value
    return str(places.typed(value).absolute())


def _is_link(text: str) -> bool:
    from trainer_core.errors import DownloadError
    from trainer_core.models import downloads

    try:
        return downloads.parse(text) is not None
    except DownloadError:
        return True


@click.command()
@job_options
@click.option("--save-plan", type=click.Path(path_type=Path), help="Also write the plan of --from as a new plan file.")
@click.option("--files", "only_files", is_flag=True, help=files.HELP)
@click.option("--against", default="", metavar="RUN", help=files.AGAINST)
@click.option("--json", "as_json", is_flag=True, help="Print values, problems, native files and commands as JSON.")
def plan(
    plan_file: Path | None,
    assignments: tuple[str, ...],
    save_plan: Path | None,
    only_files: bool,
    against: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Show what would be trained, without starting it.

    The output has every value with its source, the engine's own files and its command, the estimate, and the problems. The
    exit code is 3 when a problem blocks the start.
    """
    bench = bench_from(plan_file, assignments, options)
    if save_plan is not None:
        from_result.save(options.get("from_result"), save_plan)
    bench.look(HUB_S)  # as `easel train` does, which an answer can stop
    found = bench.problems
    if only_files or against:
        files.show_files(bench.state, found, find_run(against) if against else None, as_json)
        sys.exit(PROBLEMS if blocking(found) else 0)
    written, steps = {}, ()
    stopping = blocking(bench.state.draft.problems(bench.state.backend))
    if not stopping and (spec := preview(bench.state)) is not None:
        written, steps = spec.shown, spec.steps
    rows = setting_rows(bench.state.draft)
    seen = forecast(bench.state.draft, bench.state.backend, past_runs(places.runs()), find_gpu_processes)
    found = (*found, *(seen.problems() if seen else ()))
    folders = image_folders.parts(bench.state, found)
    if as_json:
        problems = [problem.as_dict() for problem in found]
        numbers = seen.estimate.as_dict() if seen else None
        commands = [{"name": step.name, "command": step.argv} for step in steps]
        last = steps[-1].argv if steps else ()
        show.as_json(
            {
                "values": rows,
                "problems": problems,
                "files": written,
                "command": last,
                "steps": commands,
                "estimate": numbers,
                "image_folders": [part.as_dict() for part in folders],
            }
        )
    else:
        _show_rows(bench, rows)
        for name, text in written.items():
            show.line(f"\n--- {name}".strip(), "bold")
            for text_line in text.splitlines():
                show.line(text_line)
        for step in steps:
            show.line(f"--- command: {step.name}" if len(steps) > 1 else "--- command", "bold")
            show.line(shlex.join(step.argv))
        folders_shown.show_folders(bench.state, folders)
        if seen:
            _show_forecast(seen, bench.state.draft.sketch())
        show.problems(found)
    sys.exit(PROBLEMS if blocking(found) else 0)


def _show_forecast(seen: Forecast, planned: TrainingPlan) -> None:
    show.line("--- estimate", "bold")
    show.line(
        ". ".join(filter(None, (f"{seen.estimate.steps} steps", formatting.numbers(seen.estimate), seen.fit.sentence)))
    )
    if samples := formatting.samples(seen.estimate, planned):
        show.line(samples)
    for sentence in seen.estimate.basis:
        show.line(f"  {sentence}", "dim")


def _show_rows(bench: Workbench, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints the values that apply to the job, and all others that were set."""
    scope = bench.state.scope
    known = fields.all_fields()
    shown = [path for path in rows if path not in known or scope.shows(path, Source[rows[path]["source"]])]
    cells = ((path, show.value(rows[path]["value"], scope.default(path)), _by(bench, path)) for path in shown)
    show.table(("setting", "value", "source"), cells)
    if left_out := len(rows) - len(shown):
        show.line(f"{left_out} settings do not apply to this job and are left out; --json prints all.", "dim")


def _by(bench: Workbench, path: str) -> str:
    """Who set a value, as an id: titles are too long for a table."""
    said, state = provenance.of(bench.state, path).by, bench.state
    chosen = (("profile", state.profile), ("policy", state.policy), ("preset", state.preset))
    return next((f"{kind} {one.id}" for kind, one in chosen if one and said.endswith(f"{kind} {one.title}")), said)


@click.command()
@job_options
@click.option("--like", default="", metavar="RUN", help="Begin with the plan of an earlier run.")
@click.option("--gpu", default="", metavar="GPU", help="The number or unique id of the only GPU that the run uses.")
@click.option("--queue", "queued", is_flag=True, help="Wait until the GPU is free; returns at once.")
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="PATH=VALUE,VALUE",
    help="Queue a run for each value, and for each combination if given several times; or the path of a TOML file with [[runs]].",
)
@click.option("--keep-alpha", is_flag=True, help="In a sweep of the rank, keep alpha instead of its share of the rank.")
@click.option("--yes", is_flag=True, help="Do not ask before many runs are queued.")
@click.option("--on", "where", default="", metavar="WHERE", help="Train on another machine: user@host, or KIND:NAME.")
@click.option(
    "--send-models", is_flag=True, help="With --on: upload models that the other machine lacks to its bucket."
)
@click.option("--detach", is_flag=True, help="Return at once; `easel runs follow` shows the run.")
@click.option("--json", "as_json", is_flag=True, help="Print the run's folder, or its result, as JSON.")
def train(plan_file: Path | None, assignments: tuple[str, ...], detach: bool, as_json: bool, **options: Any) -> None:
    """Start a training run and watch it, or put it into the queue.

    Ctrl+C stops watching; the run continues. The exit code is 3 when a problem blocks the start, 1 when the run did not complete.
    """
    like = find_run(options["like"]) if options["like"] else None
    bench = bench_from(plan_file, assignments, options, like)
    wanted = queueing.Wanted(options["gpu"], like.name if like else "")
    if options["where"]:
        from trainer_core.cli import remote_runs

        remote_runs.start(bench, options, wanted.notes, detach=detach, as_json=as_json)
        return
    if options["sweeps"]:
        sets, follows = _sweep_sets(options["sweeps"]), not options["keep_alpha"]
        queueing.sweep(bench, sets, wanted, options["yes"], as_json, alpha_follows=follows)
    elif options["queued"]:
        queueing.queue(bench, wanted, as_json)
    elif detach:
        queueing.start(bench, wanted, as_json)
    else:
        run = queueing.prepared(bench, wanted, pinned=False)
        run.launch()
        if not as_json:
            show.line(f"Run {run.folder.path.name} in {run.folder.path}")
        follow_run(run, quiet=as_json)
        sys.exit(run_result(run, as_json))


def _sweep_sets(texts: Sequence[str]) -> list[Changes]:
    """The sets of changes: a grid of PATH=VALUE,VALUE texts, or those of one TOML file."""
    from trainer_core.prepare import sweep as sweeps

    if len(texts) == 1 and "=" not in texts[0]:
        return sweeps.from_tables(read_toml(places.typed(texts[0]), PlanError))
    axes: dict[str, list[Any]] = {}
    for text in texts:
        path, equals, listed = text.partition("=")
        if not equals or path in axes:
            raise click.UsageError(
                f"--sweep {text}: write each setting once, as PATH=VALUE,VALUE, or name one TOML file."
            )
        axes[path] = [_value_of(path, value) for value in listed.split(",")]
    return sweeps.grid(axes)
