"""The keys inside an engine's options as rows of the list of all settings, and what is entered for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from trainer_core import places
from trainer_core.engines import arguments, docstrings, options
from trainer_core.prepare.native import native_of, own_native, set_native
from trainer_core.prepare.setting_row import OWN, REFUSED, Choice, Row, safe

if TYPE_CHECKING:
    from trainer_core.engines.arguments import Argument
    from trainer_core.prepare.state import State
    from trainer_core.prepare.workbench import Workbench


def known(state: State) -> tuple[Argument, ...]:
    """Every key inside the options of the engine of a job."""
    backend = state.backend
    if backend is None or not backend.manifest.options.lists:
        return ()
    plan = state.draft.sketch()
    return arguments.of_plan(backend, plan, state.facts.engine(backend.manifest.id))


def names(state: State) -> Mapping[str, tuple[str, ...]]:
    """{setting of the plan: the keys that follow from it}, each with its option, such as "network_args conv_dim"."""
    found: dict[str, list[str]] = {}
    for one in known(state):
        if one.setting:
            found.setdefault(one.setting, []).append(f"{one.option} {one.key}")
    return {path: tuple(dict.fromkeys(keys)) for path, keys in found.items()}


def count(state: State) -> int:
    """How many rows there are."""
    return sum(1 for _ in _listed(state))


def _listed(state: State) -> Iterator[Argument]:
    """The keys that have a row of their own: those that follow from a setting are found at that setting."""
    found = known(state)
    settings = {(one.option, one.key) for one in found if one.setting}
    mine = {path for path in _mine(state) if path not in {(one.option, one.key) for one in found}}
    yield from (one for one in found if not one.setting and (one.option, one.key) not in settings)
    for option, key in (*sorted(mine), *(pair for pair in _mine(state) if pair in settings)):
        yield arguments.Argument(option, key, "", why_not="It cannot be set here.")


def _mine(state: State) -> list[tuple[str, str]]:
    """(option, key) of what the job has."""
    backend = state.backend
    if backend is None:
        return []
    own = native_of(state, backend.manifest.id)
    pairs = [
        (option, arguments.key_of(entry))
        for option in backend.manifest.options.lists
        for entry in arguments.entries(own.get(option))
    ]
    return list(dict.fromkeys(pair for pair in pairs if all(pair)))


def rows(state: State, *, with_help: bool, has_engine: bool) -> Iterator[Row]:
    """The rows: first those that can be set."""
    backend = state.backend
    if backend is None:
        return
    engine, title, own = backend.manifest.id, backend.manifest.title, native_of(state, backend.manifest.id)
    groups = {OWN: f"Only in {title}", REFUSED: f"In {title}, not to be set"}
    for one in sorted(_listed(state), key=lambda each: (bool(each.why_not), each.option, each.key)):
        value = arguments.value_of(own.get(one.option), one.key)
        group = REFUSED if one.why_not else OWN
        text = _help(one, engine) if with_help else one.help
        yield Row(
            path=one.path(engine),
            title=one.key,
            group=group,
            group_title=groups[group],
            help=text or _no_help(one, title, has_engine=has_engine, is_read=with_help),
            has_help=bool(text),
            topic=f"inside {one.option}",
            kind="choice" if one.choices else "text",
            value=value,
            shown=safe(one.key, value or ""),
            default=one.default,
            source="yours" if value is not None else "not used" if one.why_not else "engine",
            reason=_reason(one, title, is_mine=value is not None),
            bounds=f"The value must be {one.wanted}." if one.wanted else "",
            choices=tuple(Choice(each, each) for each in one.choices),
            optional=True,
            inside=one.option,
            can_set=not one.why_not,
            why_not=one.why_not,
            is_mine=value is not None,
            is_changed=value is not None,
            note=_note(one, title, has_engine=has_engine),
        )


def _help(one: Argument, engine: str) -> str:
    return one.help or docstrings.arguments_of(places.engines() / engine, one.file, one.reader.rpartition(".")[2]).get(
        one.key, ""
    )


def _no_help(one: Argument, title: str, *, has_engine: bool, is_read: bool) -> str:
    if one.why_not or (has_engine and not is_read):
        return one.why_not
    return (
        f"{one.reader} has no text about it." if has_engine else f"The help of {title} is shown once it is installed."
    )


def _reason(one: Argument, title: str, *, is_mine: bool) -> str:
    if is_mine:
        return f"You set it. {one.why_not}".strip()
    return one.why_not or f"{title} uses its own default."


def _note(one: Argument, title: str, *, has_engine: bool) -> str:
    if one.why_not or not one.reader:
        return ""
    read = f"It is part of {one.option}, and {one.reader} reads it."
    later = f" Easel knows that from a record of the engine; once {title} is installed, its own version counts."
    return read if has_engine or not one.file else read + later


def entered(bench: Workbench, path: str, value: str | bool | None) -> dict[str, Any] | None:
    """The changes for what was entered for a key (None removes it); None if the path is not that of a key."""
    backend = bench.state.backend
    pair = arguments.named(backend.manifest.id, path, backend.manifest) if backend else None
    if backend is None or pair is None:
        return None
    engine, (option, key) = backend.manifest.id, pair
    if value is not None and not any((one.option, one.key) == pair for one in _listed(bench.state)):
        return None
    own = own_native(bench).get(engine, {}).get(option)
    text = {True: "True", False: "False"}.get(value, "") if isinstance(value, bool) else value
    changed = arguments.with_entry(own, key, text, many=_is_list(bench.state, option))
    return set_native(bench, f"native.{engine}.{option}", changed)


def _is_list(state: State, option: str) -> bool:
    backend = state.backend
    assert backend is not None
    method, version = state.draft.text("model.method"), state.facts.engine(backend.manifest.id).version
    program = options.of_program(backend.manifest, state.family, method, version)
    found = program.options.get(option) if program is not None else None
    return found is None or found.many
