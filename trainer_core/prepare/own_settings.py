"""The engine's part of the settings of a job: its program, the native settings that the job has, and how many settings there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_core.engines.launcher import TABLE
from trainer_core.plan import fields
from trainer_core.prepare.native import native_of

if TYPE_CHECKING:
    from trainer_core.engines.options import EngineOptions
    from trainer_core.prepare.state import State


def program_of(state: State) -> EngineOptions | None:
    """The recorded options of the program that trains a job; None if the engine records none, or is not known yet."""
    backend = state.backend
    if backend is None:
        return None
    # Imported when there is an engine: a notebook that opens has none.
    from trainer_core.engines import options

    method, version = state.draft.text("model.method"), state.facts.engine(backend.manifest.id).version
    return options.of_program(backend.manifest, state.family, method, version)


def unknown_native(state: State) -> list[str]:
    """The names of native settings of a job that the program of its engine does not have."""
    backend, program = state.backend, program_of(state)
    if backend is None:
        return []
    known = {*program.options, TABLE} if program is not None else {TABLE}
    return [name for name in native_of(state, backend.manifest.id) if name not in known]


def native_of_others(state: State) -> list[tuple[str, str, Any]]:
    """The native settings of a job for engines that do not train it, as (engine, name, value)."""
    chosen = state.backend.manifest.id if state.backend else ""
    engines = [engine for engine in state.draft.usable_values.get("native", {}) if engine != chosen]
    return [(engine, name, value) for engine in engines for name, value in native_of(state, engine).items()]


def count(state: State) -> int:
    """How many settings there are: those of the plan, the engine's own, and native ones that it does not have."""
    program, backend = program_of(state), state.backend
    own = 0
    if program is not None and backend is not None:
        from trainer_core.engines import options

        launcher = options.of_launcher(backend.manifest)
        own = len(program.options) + (len(launcher.options) if launcher else 0) + _inside(state)
    return len(fields.all_fields()) + own + len(unknown_native(state)) + len(native_of_others(state))


def _inside(state: State) -> int:
    """How many keys inside options of the engine have a row."""
    from trainer_core.prepare import argument_rows

    return argument_rows.count(state)
