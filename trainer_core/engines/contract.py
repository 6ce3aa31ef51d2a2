"""The requirements on every training engine, Easel's own and those of other packages: `check_contract(backend)`.

For the tests of an engine. It needs no test framework, starts no process, and raises AssertionError with a sentence.

    from trainer_core.engines.contract import check_contract

    def test_my_engine_keeps_the_contract():
        check_contract(my_engine.backend)
"""

from __future__ import annotations

import json
import random
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from trainer_core import events
from trainer_core.child import is_secret
from trainer_core.engines import audit, option_rules
from trainer_core.engines.controls_contract import check_controls
from trainer_core.engines.option_sources import other_values, rendered_tables
from trainer_core.engines.options import EngineOptions
from trainer_core.engines.prompts_contract import check_prompts
from trainer_core.engines.resume_contract import resumed_jobs
from trainer_core.engines.seam import Backend, JobSpec, Place
from trainer_core.engines.status import NOT_KNOWN
from trainer_core.hardware import Accelerator, Machine
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import blocking

GIB = 1024**3
GPU = Accelerator("cuda", "A card", 24 * GIB, 24 * GIB, "8.6", "580.95.05")
MACHINE = Machine((GPU,), 64 * GIB, 60 * GIB, 500 * GIB, 16, "Linux")

GARBAGE = ("", " ", "\x00", "\x1b[A", "caching", "100%|██████████| 8/8 [00:00<00:00]", "a" * 100_000, "\udcff", "{}")
"""Lines that are no event of any engine."""
PIECES = (
    *("steps: ", "step ", "epoch ", "loss=", "nan", "inf", "INFO", "ERROR ", "Traceback", "%|", "it/s"),
    *("9" * 40, "-1", "1e999", "\x1b[31m"),
    *'[]{}/0:\t\r\udcffé🙂\u202e =."\\',
)
"""Random lines consist of these pieces, so that some lines resemble the output of an engine."""
LINES = 2000
LINE_EVENTS = (events.Phase, events.Progress, events.Step, events.Epoch, events.Notice)
"""The events that a line of output can be."""


def check_contract(backend: Backend) -> None:
    """Checks that the engine fulfils the contract for every family and method that it claims.

    Raises:
        AssertionError: a sentence about what it does not fulfil.
    """
    check_manifest(backend)
    check_parse(backend)
    for family, method in cells(backend):
        for sampling in (False, True):
            check_render(backend, plan_of(backend, family, method, sampling=sampling))
        for spec in resumed_jobs(backend, plan_of(backend, family, method, output__keep_states=2), place()):
            _check_command(spec, place())
            _check_files(spec)
        check_prompts(backend, plan_of(backend, family, method, sampling=True), place(), MACHINE)
        check_controls(backend, plan_of(backend, family, method), place(), MACHINE)
        check_settings(backend, family, method)
        check_options(backend, family, method)
        check_natives(backend, family, method)


def cells(backend: Backend) -> list[tuple[str, str]]:
    """Every (family, method) that an engine claims."""
    return [(family, method) for family, claim in sorted(backend.manifest.families.items()) for method in claim.methods]


def plan_of(backend: Backend, family: str, method: str, *, sampling: bool = False, **values: Any) -> TrainingPlan:
    """A minimal plan with the companion files that the engine needs; `values` by path, with "__" for the dot.

    The model is one file, or a folder if the engine reads this family only from a folder.
    """
    claim = backend.manifest.families[family]
    parts = {part: f"/models/{part}" for part in claim.needed_parts(())}
    plan = plan_for(family, method, parts, sampling=sampling, **values)
    is_refused = any(each.path == "model.path" for each in blocking(backend.problems(plan, MACHINE, NOT_KNOWN)))
    values = {"model__path": "/models/base", **values}
    return plan_for(family, method, parts, sampling=sampling, **values) if is_refused or not claim.single_file else plan


def plan_for(
    family: str, method: str = "lora", parts: Mapping[str, str] | None = None, *, sampling: bool = False, **values: Any
) -> TrainingPlan:
    """A minimal plan that no engine has a reason to refuse; `values` by path, with "__" for the dot."""
    flat = {
        "model.path": "/models/base.safetensors",
        "model.family": family,
        "model.method": method,
        **{f"model.{part}": path for part, path in (parts or {}).items()},
        "dataset.path": "/images",
        "dataset.trigger": "mika",
        "dataset.resolution": 512,
        "network.rank": 4,
        "network.alpha": 2.0,
        "schedule.steps": 10,
        "output.name": "contract",
        "output.prefix": "cg_",
        "output.save_every_steps": 5,
        **({"sampling.every_steps": 5} if sampling else {}),
        **{path.replace("__", "."): value for path, value in values.items()},
    }
    return TrainingPlan.model_validate(fields.nest(flat))


def place(folder: str = "/runs/20261120-120000-contract") -> Place:
    """A place that does not exist, because rendering must not read the file system."""
    run = Path(folder)
    python, checkout = Path("/engine/venv/bin/python"), Path("/engine/source")
    return Place(run, run / "dataset", run / "output", python, checkout, "1.0")


def other_value(setting: fields.SettingField) -> Any:
    """An allowed value of this setting that is not its default."""
    return max(other_values(setting))


def check_manifest(backend: Backend) -> None:
    """Checks that the manifest is consistent and names only what exists."""
    from trainer_core.models.families import load_families

    manifest, families = backend.manifest, load_families()
    _require(
        re.fullmatch(r"[a-z][a-z0-9_]*", manifest.id),
        f"{manifest.id!r} is not a valid id: use lower-case letters, digits and _.",
    )
    _require(manifest.title and manifest.licence, "It must have a title and a licence.")
    _require(manifest.families, "It claims no family of models.")
    for family, claim in manifest.families.items():
        _require(claim.methods, f"{family} is claimed without a method.")
        _require(family not in manifest.refused, f"{family} is both claimed and refused.")
        unknown = claim.named_variants - {*families[family].variants}
        _require(not unknown, f"[families.{family}] names unknown variants: {', '.join(sorted(unknown))}.")
    endings = manifest.dataset.extensions
    are_plain = all(ending.startswith(".") and ending == ending.lower() for ending in endings)
    _require(are_plain, "The file extensions of images must begin with a dot and be in lower case.")
    rows = manifest.diagnosis
    _require(len({row.id for row in rows}) == len(rows), "Two signatures in diagnosis.toml have the same id.")
    for row in rows:
        re.compile(row.pattern)
        re.compile(row.frames)
        _require(row.cause.endswith((".", "?")), f"The cause of {row.id} is not a sentence.")
        _require(row.advice, f"{row.id} has no advice.")


def check_parse(backend: Backend) -> None:
    """Checks that no line causes an exception, and that lines without meaning are no events."""
    for line in GARBAGE:
        _require(backend.parse(line) is None, f"{line[:40]!r} must not become an event.")
    draw = random.Random(0)  # noqa: S311 - the same lines each time
    for _ in range(LINES):
        line = "".join(draw.choices(PIECES, k=draw.randrange(20)))
        event = backend.parse(line)
        _require(
            event is None or isinstance(event, LINE_EVENTS), f"{line[:80]!r} becomes {event!r}, which is not an event."
        )


def check_render(backend: Backend, plan: TrainingPlan) -> None:
    """Checks that the job of a plan is complete, the same each time, and stays in its run folder."""
    errors = blocking(backend.problems(plan, MACHINE, NOT_KNOWN))
    _require(not errors, f"{plan.model.family} {plan.model.method}: {errors[0].message if errors else ''}")
    where = place()
    spec = backend.render(plan, where)
    _require(backend.render(plan, where) == spec, "Rendering must return the same job each time.")
    _require(not where.run.exists(), "Rendering must not write files: it returns only their texts.")
    _require(spec.backend == backend.manifest.id, "The job must name the engine.")
    _require(spec.total_steps == plan.schedule.steps, "The job must have the same number of steps as the plan.")
    _check_command(spec, where)
    _check_files(spec)
    _check_artefacts(spec)
    _check_controls(spec)


def _check_command(spec: JobSpec, where: Place) -> None:
    _require(names := [step.name for step in spec.steps], "The job must have at least one step.")
    _require(all(names) and len({*names}) == len(names), "Each step must have a different name.")
    for step in spec.steps:
        argv = step.argv
        _require(
            isinstance(argv, tuple) and argv and all(isinstance(argument, str) and argument for argument in argv),
            f"The command of {step.name} must be a tuple of texts that are not empty.",
        )
        _require(Path(argv[0]).is_absolute(), f"The command of {step.name} must begin with an absolute path.")
        _check_environment(step.environment)
    is_inside = spec.working_directory.is_absolute() and spec.working_directory.is_relative_to(where.run)
    _require(is_inside, "The working directory must be in the run folder.")
    if spec.metrics.kind == "tensorboard":
        inside = spec.metrics.folder is not None and spec.metrics.folder.is_relative_to(where.run)
        _require(
            spec.metrics.loss and inside,
            "TensorBoard metrics need the tag of the loss, and a folder in the run folder.",
        )


def _check_environment(environment: Mapping[str, str]) -> None:
    for name, value in environment.items():
        _require(isinstance(name, str) and isinstance(value, str), f"The environment variable {name!r} must be text.")
        told = f"{name}: a job must not contain secrets, because it is saved in the run folder."
        _require(not is_secret(name, value), told)


def _check_files(spec: JobSpec) -> None:
    _require(spec.files, "The job must have at least one file, which passes the plan to the engine.")
    for name in (*spec.files, *spec.folders):
        inside = isinstance(name, PurePosixPath) and not name.is_absolute() and ".." not in name.parts
        _require(inside, f"{name} must be a PurePosixPath in the run folder.")
    for name, text in spec.files.items():
        {".toml": tomllib.loads, ".json": json.loads}.get(name.suffix, str)(text)


def _check_artefacts(spec: JobSpec) -> None:
    for pattern in (spec.artefacts.final, spec.artefacts.checkpoints, spec.artefacts.samples):
        _require(not pattern.glob.startswith("/"), f"{pattern.glob} must be relative to the output folder.")
        re.compile(pattern.pattern)
    _require(
        "step" in re.compile(spec.artefacts.checkpoints.pattern).groupindex,
        "The pattern of checkpoints must have a group called step.",
    )


def _check_controls(spec: JobSpec) -> None:
    for request, control in spec.controls.items():
        fits = control.effect.endswith(".") and json.loads(spec.files.get(control.file, "{}")).get(control.key) == 0
        _require(fits, f"{request} needs a sentence, and a file of the job with {control.key} = 0.")


def check_settings(backend: Backend, family: str, method: str) -> None:
    """Checks that every setting of a plan changes the rendered job, or causes a Problem."""
    dropped = sorted({f"{path}{_with(context)}" for path, context in dropped_settings(backend, family, method)})
    message = f"{family} {method}: these settings change nothing and no Problem reports it: {', '.join(dropped)}."
    _require(not dropped, message)


def _with(context: Mapping[str, Any]) -> str:
    return f" (with {', '.join(f'{path} {value!r}' for path, value in context.items())})" if context else ""


def dropped_settings(backend: Backend, family: str, method: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(path, context) of each setting that changes neither the rendered job nor the Problems of the engine.

    Each setting is changed in every context in which it applies; elsewhere Easel itself reports that it has no effect.
    """
    cell, where = _cell(family, method), place()
    for path, context, values in _changes(backend, family, method):
        before = {**cell, **context}
        job = backend.render(_made(backend, before), where)
        if not any(
            _is_said(backend, before, path, value)
            or backend.render(_made(backend, {**before, path: value}), where) != job
            for value in values
        ):
            yield path, context


def _changes(backend: Backend, family: str, method: str) -> Iterator[tuple[str, Mapping[str, Any], list[Any]]]:
    """(path, context, other values) of each setting, in every context where it has a meaning."""
    cell = _cell(family, method)
    for path, setting in fields.all_fields().items():
        if not setting.about.done_by_easel and path not in cell:
            values = _claimed(backend, family, path, other_values(setting))
            for context in _contexts(backend, family, method, path) if values else ():
                yield path, context, values


def _cell(family: str, method: str) -> dict[str, Any]:
    return {"model.family": family, "model.method": method}


def _made(backend: Backend, values: Mapping[str, Any]) -> TrainingPlan:
    """The plan of a cell with these values, by dotted path."""
    cell = values["model.family"], values["model.method"]
    rest = {path.replace(".", "__"): value for path, value in values.items() if path not in _cell(*cell)}
    return plan_of(backend, *cell, **rest)


def _is_said(backend: Backend, before: Mapping[str, Any], path: str, value: Any) -> bool:
    """Whether a Problem is about a change of a setting, or about what it is changed beside."""
    plans = (_made(backend, before), _made(backend, {**before, path: value}))
    said, told = (list(backend.problems(plan, MACHINE, NOT_KNOWN)) for plan in plans)
    natives = {f"native.{engine}.{name}" for engine, table in before.get("native", {}).items() for name in table}
    return told != said or not {each.path for each in told}.isdisjoint({path, *before, *natives} - _cell("", "").keys())


def _claimed(backend: Backend, family: str, path: str, values: list[Any]) -> list[Any]:
    """The values of a setting that the engine supports."""
    manifest, claim = backend.manifest, backend.manifest.families[family]
    if path == "model.prediction" and claim.predictions:
        # A model of a family with one type cannot be of another, and the core says so.
        return [value for value in values if value in claim.predictions and len(claim.predictions) > 1]
    known = {
        "algorithms": claim.algorithms,
        "optimizers": manifest.optimizers,
        "schedulers": manifest.schedulers,
    }.get(fields.all_fields()[path].about.choices)
    return values if known is None else [value for value in values if value in known]


def _contexts(backend: Backend, family: str, method: str, path: str) -> Iterator[Mapping[str, Any]]:
    """Values of other settings with which a setting applies; none if it never applies in this cell."""
    claim, field = backend.manifest.families[family], fields.all_fields()[path]
    about = field.about
    of_some = field.section in ("network", "embedding") or about.claim
    other_method = of_some and about.methods and method not in about.methods
    chooser, reading = fields.choosers().get(field.section), fields.readers(path)
    if field.section == "sampling":
        yield {"sampling.every_steps": 5, "sampling.negative_prompt": "text"}
    elif other_method or claim.ignores(about, method, ""):
        return
    elif about.part:
        yield from [{}] if field.name in claim.parts else []
    elif about.predictions and claim.predictions:
        yield from ({"model.prediction": each} for each in claim.predictions if each in about.predictions)
    elif about.only_with:
        yield {about.only_with: other_values(fields.all_fields()[about.only_with])[0]}
    elif chooser and reading:
        yield from ({chooser.path: each} for each in _claimed(backend, family, chooser.path, list(reading)))
    else:
        yield {}
        if path == "dataset.keep_tokens":
            yield {"dataset.shuffle_captions": True}


def check_options(backend: Backend, family: str, method: str) -> None:
    """Checks that every rendered option is recorded for the engine's programs and has a valid value."""
    manifest = backend.manifest
    if not manifest.schema.is_dir():
        return
    known = _records(backend, family, method)
    for values in _rich(backend, family, method):
        tables = rendered_tables(backend, {"model.family": family, "model.method": method, **values}, known)
        wrong = [sentence for name, table in tables.items() for sentence in known[name].complaints(table)]
        _require(not wrong, f"{family} {method}: {' '.join(wrong)}")


def check_natives(backend: Backend, family: str, method: str) -> None:
    """A native value overrides no setting without a word: what a setting determines is `owned`, not `[native]`."""
    wrong = sorted({f"{option} ({path})" for path, option in overridden_settings(backend, family, method)})
    message = (
        f"{family} {method}: options.toml lists these as native, but a setting determines them: {', '.join(wrong)}."
    )
    _require(not wrong, message)


def overridden_settings(backend: Backend, family: str, method: str) -> Iterator[tuple[str, str]]:
    """(path, option) of each setting that has no effect once the option is set natively, though no Problem says so."""
    manifest = backend.manifest
    if not manifest.schema.is_dir():
        return
    known = _records(backend, family, method)
    native = {name for names in manifest.options.native.values() for name in names}
    for path, context, values in _changes(backend, family, method):
        before = {**_cell(family, method), **context}
        plain = rendered_tables(backend, before, known)
        for value in values:
            for record, table in rendered_tables(backend, {**before, path: value}, known).items():
                for option in native & {name for name in table if table[name] != plain.get(record, {}).get(name)}:
                    own = {**before, "native": {manifest.id: {option: table[option]}}}
                    # Tables of one record are merged, as the engine does: the files can differ although nothing else does.
                    same = rendered_tables(backend, own, known) == rendered_tables(backend, {**own, path: value}, known)
                    if same and not _is_said(backend, own, path, value):
                        yield path, option


def _records(backend: Backend, family: str, method: str) -> Mapping[str, EngineOptions]:
    """The recorded options of the program that trains a cell, of the dataset and of the launcher."""
    manifest = backend.manifest
    program, every = audit.program_of(manifest, family, method), audit.records(manifest.schema)
    return {
        name: found
        for name, found in every.items()
        if name == program or not option_rules.is_program(manifest.options, name)
    }


def _rich(backend: Backend, family: str, method: str) -> Iterator[Mapping[str, Any]]:
    """Values to render a cell with: the defaults, samples, and each supported choice with all settings of that choice."""
    yield from ({}, {"sampling.every_steps": 5, "sampling.negative_prompt": "text"})
    known = fields.all_fields()
    for section, chooser in fields.choosers().items():
        if section != "network" or method == "lora":
            paths = [path for path, setting in known.items() if setting.section == section]
            for each in _claimed(backend, family, chooser.path, list(chooser.choices)):
                own = (path for path in paths if each in fields.readers(path))
                yield {chooser.path: each, **{path: other_value(known[path]) for path in own}}


def _require(kept: object, sentence: str) -> None:
    if not kept:
        raise AssertionError(sentence)
