"""Every setting of a job as a list: the settings of the plan, and every option of the program that trains it.

Each row says what the setting is, which value it has and why, and whether and how a user can set it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainer_core.draft.layers import Source
from trainer_core.engines import option_help, own_options
from trainer_core.errors import PlanError
from trainer_core.install.installed import engine_home
from trainer_core.plan import fields
from trainer_core.prepare import argument_rows, entering, preview, provenance
from trainer_core.prepare.own_settings import native_of, native_of_others, program_of, unknown_native
from trainer_core.prepare.setting_row import (
    FOLLOWS,
    LAUNCH,
    NOT_SHOWN,
    OTHERS,
    OWN,
    REFUSED,
    Choice,
    Kind,
    Row,
    safe,
)

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest
    from trainer_core.engines.options import EngineOptions
    from trainer_core.engines.own_options import OwnOption
    from trainer_core.plan.fields import SettingField
    from trainer_core.prepare.state import State
    from trainer_core.prepare.workbench import Workbench
    from trainer_core.problems import Problem

__all__ = [
    "FOLLOWS",
    "LAUNCH",
    "NOT_SHOWN",
    "OTHERS",
    "OWN",
    "REFUSED",
    "Choice",
    "Kind",
    "Row",
    "entered",
    "fitting",
    "rows",
]

EASELS = "Easel's default"
_KINDS: Mapping[str, Kind] = {"bool": "switch", "int": "int", "float": "float", "int_or_float": "float", "any": "any"}


def rows(state: State, problems: Iterable[Problem] = (), *, with_help: bool = True) -> list[Row]:
    """Every setting of a job, in the order of the plan, then the engine's own options.

    `problems` are those of the job. `with_help=False` leaves out the engine's help texts, which take up to a second to read.
    """
    worst: dict[str, Problem] = {}
    for problem in problems:
        worst.setdefault(problem.path, problem)
    found = [*_of_plan(state), *_of_engine(state, with_help=with_help), *_of_others(state)]
    return [_with_problem(row, worst) for row in found]


def fitting(found: Iterable[Row], text: str = "", *, mine: bool = False, changed: bool = False) -> list[Row]:
    """The rows that have every word of a text in their title, path, help, topic or the engine's names of them."""
    words = text.casefold().split()
    return [
        row
        for row in found
        if (row.is_mine or not mine)
        and (row.is_changed or not changed)
        and all(word in _searched(row) for word in words)
    ]


def _searched(row: Row) -> str:
    return " ".join((row.title, row.path, row.help, row.topic, *row.options)).casefold()


def _with_problem(row: Row, worst: Mapping[str, Problem]) -> Row:
    problem = worst.get(row.path)
    if problem is None:
        return row
    return dataclasses.replace(row, problem=problem.message, severity=problem.severity)


def entered(bench: Workbench, path: str, value: str | bool) -> dict[str, Any]:
    """The changes for what was entered at a row: `Workbench.set` takes them. What cannot be read stays text.

    Raises:
        PlanError: the job has no such setting.
    """
    if path in fields.all_fields():
        return {path: entering.of_setting(path, value)}
    if (found := argument_rows.entered(bench, path, value)) is not None:
        return found
    option = next((one.option for one in _own(bench.state) if one.path == path), None)
    if option is None:
        raise PlanError(
            f"There is no setting called {path!r:.80}.", "Search for it again: the engine may have changed."
        )
    return entering.set_native(bench, path, entering.of_option(option, value))


# ---- the settings of the plan --------------------------------------------------------------------------------------


def _of_plan(state: State) -> Iterator[Row]:
    scope, values = state.scope, state.draft.values
    backend = state.backend
    program = program_of(state)
    named = own_options.names_of(backend.manifest, program) if backend else {}
    inside = argument_rows.names(state)
    written = preview.written(state, program)
    for path, field in fields.all_fields().items():
        source = state.draft.source_of(path)
        why_not = "" if scope.shows(path, source) else scope.why_not(path)
        default = field.default if field.default is not None else scope.default(path)
        yield Row(
            path=path,
            title=field.title,
            group=field.section,
            group_title=fields.SECTIONS[field.section],
            help=field.doc,
            kind=_kind(field),
            value=values[path],
            shown=entering.shown(values[path]),
            default=entering.shown(default),
            source=_word(state, path) if not why_not else "no effect",
            reason=why_not or _sentence(provenance.of(state, path)),
            unit=field.unit,
            bounds=_bounds(field.minimum, field.maximum),
            choices=_choices(state, field),
            optional=field.optional,
            options=(*named.get(path, ()), *inside.get(path, ())),
            engine_default=_of_the_engine(values[path], default, named.get(path, ()), program, written),
            can_set=not why_not,
            why_not=why_not,
            is_mine=source is Source.USER,
            is_changed=values[path] != field.default,
        )


def _word(state: State, path: str) -> str:
    """The word for the source of a value; a default is Easel's, because the engine has its own."""
    word = provenance.word(state, path)
    return EASELS if word == provenance.WORDS[Source.DEFAULT] else word


def _of_the_engine(
    value: Any, default: Any, names: Sequence[str], program: EngineOptions | None, written: Mapping[str, Any]
) -> str:
    """The default that the engine itself has for a setting, with the option's name; "" if it is Easel's, or has another meaning."""
    for name in names:
        # An option that gets the value of the setting as it is means the same.
        if program is None or name not in program.options or name not in written or written[name] != value:
            continue
        usual = program.options[name].default
        if usual is not None and usual != default:
            return f"{entering.shown(usual)} (--{name})"
    return ""


def _sentence(found: provenance.Provenance) -> str:
    said = {
        Source.USER: "You set it",
        Source.DEFAULT: "This is Easel's default",
        Source.RECOMMENDED: "Recommended",
    }.get(found.source, f"From {found.by}")
    return f"{said}: {found.reason}" if found.reason else f"{said}."


def _kind(field: SettingField) -> Kind:
    if field.choices or (field.base_type is bool and field.optional):
        return "choice"
    return {bool: "switch", int: "int", float: "float"}.get(field.base_type, "text")  # type: ignore[return-value]


def _choices(state: State, field: SettingField) -> tuple[Choice, ...]:
    if field.choices:
        return tuple(Choice(name, _title_of(field, name), why) for name, why in state.scope.choices(field.path).items())
    if field.base_type is bool and field.optional:
        default = state.scope.default(field.path)
        said = "not set" if default is None else f"not set (then it is {entering.shown(default)})"
        return (Choice("", said), Choice(entering.ON, entering.ON), Choice(entering.OFF, entering.OFF))
    return ()


def _title_of(field: SettingField, name: str) -> str:
    entry = field.chooses.get(name)
    return entry.title if entry else field.about.titles.get(name, name) or field.about.empty or "not set"


def _bounds(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    return f"From {_bound(low)} to {_bound(high)}."


def _bound(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else entering.number(value)


# ---- the engine's own options --------------------------------------------------------------------------------------


def _own(state: State) -> Sequence[OwnOption]:
    backend = state.backend
    if backend is None:
        return ()
    method, version = state.draft.text("model.method"), state.facts.engine(backend.manifest.id).version
    return own_options.of_program(backend.manifest, state.family, method, version)


def _of_engine(state: State, *, with_help: bool) -> Iterator[Row]:
    backend = state.backend
    if backend is None:
        return
    manifest, mine = backend.manifest, native_of(state, backend.manifest.id)
    texts = help_texts(manifest, program_of(state)) if with_help else None
    has_engine = engine_home(manifest.id).is_dir()
    written = preview.written(state, program_of(state))
    order = [OWN, LAUNCH, FOLLOWS, REFUSED]
    known = sorted(_own(state), key=lambda one: (order.index(_group(one)), one.reason if one.can_set else "", one.name))
    for one in known:
        yield _own_row(one, manifest, _given(mine, one), texts, written, has_engine=has_engine)
    yield from argument_rows.rows(state, with_help=with_help, has_engine=has_engine)
    for name in unknown_native(state):
        yield _unknown_row(f"native.{manifest.id}.{name}", name, mine[name], OWN, f"Only in {manifest.title}")


def help_key(state: State) -> tuple[str, str]:
    """The engine and the program whose help texts belong to a job; ("", "") if it has none."""
    recorded = program_of(state)
    return (state.backend.manifest.id, recorded.name) if state.backend and recorded else ("", "")


def read_help(state: State) -> None:
    """Reads the help texts for a job, so that `rows` has them at once."""
    if state.backend is not None:
        help_texts(state.backend.manifest, program_of(state))


def help_texts(manifest: BackendManifest, recorded: EngineOptions | None) -> Mapping[str, str]:
    """The help texts of the installed engine by option; {} if it is not installed."""
    program = recorded.name if recorded is not None else ""
    return option_help.read(engine_home(manifest.id), manifest.options.help, program)


def _given(mine: Mapping[str, Any], one: OwnOption) -> Any:
    table = mine.get(one.table, {}) if one.table else mine
    return table.get(one.name) if isinstance(table, Mapping) else None


def _group(one: OwnOption) -> str:
    if one.kind == "owned":
        return FOLLOWS
    if not one.can_set:
        return REFUSED
    return LAUNCH if one.table else OWN


def _own_row(
    one: OwnOption,
    manifest: BackendManifest,
    given: Any,
    texts: Mapping[str, str] | None,
    written: Mapping[str, Any],
    *,
    has_engine: bool,
) -> Row:
    option, title, is_mine = one.option, manifest.title, given is not None
    titles = {
        OWN: f"Only in {title}",
        LAUNCH: f"Launcher of {title}",
        FOLLOWS: f"In {title}, set by Easel",
        REFUSED: f"In {title}, not to be set",
    }
    group = _group(one)
    missing = f"{title} has no help for it." if has_engine else f"The help of {title} is shown once it is installed."
    if texts is None:
        missing = ""
    source, reason = _source(one, title, is_mine=is_mine, is_written=one.name in written and not one.table)
    value = given if is_mine else written.get(one.name) if not one.table else None
    return Row(
        path=one.path,
        title=one.name,
        group=group,
        group_title=titles[group],
        help=(texts or {}).get(one.name, missing),
        has_help=one.name in (texts or {}),
        topic=one.reason if one.can_set else "launcher" if one.table else "",
        kind="choice"
        if option.choices and not option.many
        else "list"
        if option.many
        else _KINDS.get(option.type, "text"),
        value=value,
        shown=safe(one.name, entering.shown(value)),
        default=entering.shown(option.default),
        bounds=_bounds(*one.bounds) if one.bounds else "",
        choices=tuple(
            Choice(entering.shown(name), entering.shown(name)) for name in option.choices if name is not None
        ),
        optional=True,
        follows=one.follows,
        can_set=one.can_set,
        why_not=one.why_not,
        is_mine=is_mine,
        is_changed=is_mine,
        note=" ".join(filter(None, (one.needs, _package(one)))),
        source=source,
        reason=reason,
    )


def _package(one: OwnOption) -> str:
    return (
        f"Needs the package {one.package}, which is not in the engine's environment by itself." if one.package else ""
    )


def _source(one: OwnOption, title: str, *, is_mine: bool, is_written: bool) -> tuple[str, str]:
    """The word for the source of an option's value, and the sentence about it."""
    if is_mine:
        return "yours", f"You set it. {one.why_not}".strip()
    if one.kind == "owned":
        known = fields.all_fields().get(one.follows)
        if known is not None:
            return f"from {known.title}", f"It follows from the setting {known.title} ({known.path})."
        return "by Easel", "Easel determines it, and no setting changes it."
    if not one.can_set:
        return "refused" if one.kind == "refused" else "not used", one.why_not
    if is_written:
        return "by Easel", "Easel writes this value for this model. Your own value replaces it."
    return "engine", f"{title} uses its own default."


# ---- native settings that the program does not have ----------------------------------------------------------------


def _unknown_row(path: str, name: str, value: Any, group: str, title: str) -> Row:
    said = "The program that trains this job has no such option."
    return Row(
        path=path,
        title=name,
        group=group,
        group_title=title,
        help=said,
        has_help=False,
        kind="any",
        value=value,
        shown=safe(name, entering.shown(value)),
        default="",
        source="yours",
        reason=f"You set it. {said}",
        can_set=False,
        why_not=said,
        is_mine=True,
        is_changed=True,
    )


def _of_others(state: State) -> Iterator[Row]:
    """Native settings of other engines that the job has: they come back into use with their engine."""
    for engine, name, value in native_of_others(state):
        said = f"It is used only when {engine} trains."
        row = _unknown_row(f"native.{engine}.{name}", name, value, OTHERS, "Of other engines")
        yield dataclasses.replace(row, help=said, reason=f"You set it. {said}", why_not=said, topic=engine)
