"""The native settings of a job: a table of options for each engine, read and changed by path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer_core.draft.layers import Source, is_native

if TYPE_CHECKING:
    from trainer_core.prepare.state import State
    from trainer_core.prepare.workbench import Workbench


def native_of(state: State, engine: str) -> Mapping[str, Any]:
    """The native settings of a job for an engine."""
    found = state.draft.usable_values.get("native", {}).get(engine, {})
    return found if isinstance(found, Mapping) else {}


def own_native(bench: Workbench) -> dict[str, Any]:
    """The user's native settings: a table for each engine."""
    found = bench.state.draft.layers.get(Source.USER, {}).get("native", {})
    return dict(found) if is_native(found) else {}


def with_file(bench: Workbench, path: str, file: str) -> dict[str, Any]:
    """The changes with which a setting of the plan or of an engine names a file; a list of files gets it in addition."""
    if not path.startswith("native."):
        return {path: file}
    _, engine, option = path.split(".", 2)
    present = native_of(bench.state, engine).get(option)
    if _takes_many(engine, option):
        # A single text is a Problem of its own, and not lost here.
        listed = present if isinstance(present, list | tuple) else [present] if present else []
        return set_native(bench, path, [*(each for each in listed if each != file), file])
    return set_native(bench, path, file)


def set_native(bench: Workbench, path: str, value: Any) -> dict[str, Any]:
    """The changes that set a native setting ("native.<engine>.<option>"); an option without a value is taken out."""
    _, engine, whole = path.split(".", 2)
    table = {**own_native(bench).get(engine, {})}
    # A name that the engine does not have may contain dots.
    keys = [whole] if whole in table else whole.split(".", 1)
    _put(table, keys, value)
    return {"native": {**own_native(bench), engine: table}}


def _put(table: dict[str, Any], keys: list[str], value: Any) -> None:
    """Sets a value in nested tables, or takes it out if it is None, with a table that becomes empty."""
    first, *others = keys
    if others:
        below = table.get(first)
        inner = {**below} if isinstance(below, Mapping) else {}
        _put(inner, others, value)
        value = inner or None
    if value is None:
        table.pop(first, None)
    else:
        table[first] = value


def merged(below: Any, above: Mapping[str, Any]) -> dict[str, Any]:
    """The native settings with those of `above`, which has tables of options by engine and counts more.

    A table in the place of an option that is a list of key=value changes only its keys: `native.kohya.network_args.verbose`.
    """
    found = dict(below) if isinstance(below, Mapping) else {}
    for engine, table in above.items():
        own = found.get(engine)
        if isinstance(table, Mapping):
            lists = _lists(engine)
            found[engine] = _with(own, table, lists)
        else:
            found[engine] = table
    return found


def _lists(engine: str) -> Mapping[str, bool]:
    """{option that is a list of key=value: whether its parser takes a list, and not a text}."""
    # Imported when something is set: a notebook that opens has no native settings.
    from trainer_core.engines import options, registry
    from trainer_core.errors import BackendError

    try:
        manifest = registry.get(engine).manifest
    except BackendError:
        return {}
    return {name: options.takes_many(manifest, name) for name in manifest.options.lists}


def _takes_many(engine: str, option: str) -> bool:
    """Whether an option of an engine is a list."""
    from trainer_core.engines import options, registry

    return options.takes_many(registry.get(engine).manifest, option)


def _with(below: Any, above: Mapping[str, Any], lists: Mapping[str, bool]) -> dict[str, Any]:
    from trainer_core.engines import arguments

    found = dict(below) if isinstance(below, Mapping) else {}
    for name, value in above.items():
        if name in lists and isinstance(value, Mapping):
            listed = found.get(name)
            for key, text in value.items():
                listed = arguments.with_entry(listed, key, str(text), many=lists[name])
            found[name] = listed
        else:
            found[name] = _with(found.get(name), value, {}) if isinstance(value, Mapping) else value
    return found
