"""Finds the training engines: Easel's own in `backends`, and those of other packages by entry point.

There is no list of them. An engine that cannot be loaded is kept as the error that says why; the others still work.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.engines.manifest import ENTRY_POINTS, BackendManifest
from trainer_core.engines.seam import Backend
from trainer_core.errors import BackendError, wrong_use
from trainer_core.places import CHECKOUT
from trainer_core.problems import Problem
from trainer_core.text import printable

if TYPE_CHECKING:
    from trainer_core.engines.status import EngineStatus
    from trainer_core.hardware import Machine
    from trainer_core.plan.sections import TrainingPlan

OWN = "backends"

# What another package's code can raise, except interrupts and exits of the whole process.
_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BackendError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


def available(include_hidden: bool = False) -> tuple[Backend, ...]:
    """The usable engines, sorted by id; hidden ones are for tests and are included only on request."""
    found = (backend for _, backend in sorted(_found().items()) if not isinstance(backend, BackendError))
    return tuple(backend for backend in found if include_hidden or not backend.manifest.hidden)


def broken() -> Mapping[str, BackendError]:
    """The engines that exist but cannot be used, by id, each with the reason."""
    return {name: found for name, found in sorted(_found().items()) if isinstance(found, BackendError)}


def get(name: str) -> Backend:
    """The engine with this id, which may be a hidden one.

    Raises:
        BackendError: there is no such engine, or it cannot be used.
    """
    found = _found().get(name)
    if found is None:
        known = ", ".join(backend.manifest.id for backend in available())
        raise wrong_use(BackendError(f"There is no training engine called {name!r:.80}.", f"Known: {known or 'none'}."))
    if isinstance(found, BackendError):
        raise found
    return found


def first() -> Backend:
    """The default engine: the first by rank.

    Raises:
        BackendError: there is no engine.
    """
    found = min(available(), key=lambda backend: (backend.manifest.rank, backend.manifest.id), default=None)
    if found is None:
        raise BackendError("There is no training engine.", "Install Easel again.")
    return found


def problems_of(backend: Backend, plan: TrainingPlan, machine: Machine, status: EngineStatus) -> tuple[Problem, ...]:
    """What an engine has against a plan. That of another package may fail while it is asked, which then is what stops it."""
    if backend.manifest.folder.parent == CHECKOUT / OWN:
        return tuple(backend.problems(plan, machine, status))
    try:
        return tuple(backend.problems(plan, machine, status))
    except _FAILURES as error:
        title, said = printable(backend.manifest.title, 80), printable(str(error), 200)
        message = f"{title} failed when it was asked about this plan ({type(error).__name__}: {said})."
        return (Problem("", "error", f"{message} Update or remove its package, or choose another engine."),)


def refresh() -> None:
    """Clears the cache of found engines, so that newly installed engines are found."""
    _found.cache_clear()


@functools.cache
def _found() -> dict[str, Backend | BackendError]:
    found: dict[str, Backend | BackendError] = {}
    for name, load in (*_own(), *_others()):
        backend = _loaded(name, load)
        key = name if isinstance(backend, BackendError) else backend.manifest.id
        if key in found:
            # The first one keeps its name: another package cannot replace a known engine.
            key, backend = (
                f"{key} ({name})",
                BackendError(f"There is another engine called {key}.", "One of them must be renamed."),
            )
        found[key] = backend
    return found


def _own() -> Iterator[tuple[str, Callable[[], Any]]]:
    """The sub-packages of `backends`, which must be the folder of this checkout or wheel."""
    try:
        package = importlib.import_module(OWN)
    except ImportError as error:
        yield (
            OWN,
            functools.partial(_refuse, f"Easel's own engines cannot be imported: {error}.", "Install Easel again."),
        )
        return
    places = [Path(place).resolve() for place in package.__path__]
    if CHECKOUT / OWN not in places:
        others = ", ".join(str(place) for place in places)
        message = f"Another package called {OWN!r} hides Easel's engines: {others}."
        yield OWN, functools.partial(_refuse, message, "Remove it, or install Easel in a separate environment.")
        return
    for module in pkgutil.iter_modules([str(CHECKOUT / OWN)]):
        if module.ispkg:
            yield module.name, functools.partial(_attribute, f"{OWN}.{module.name}")


def _others() -> Iterator[tuple[str, Callable[[], Any]]]:
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        yield point.name, functools.partial(_checked, point)


def _checked(point: importlib.metadata.EntryPoint) -> Any:
    """The backend of another package with all its files read; tests check the files of Easel's own."""
    backend = point.load()
    if isinstance(manifest := getattr(backend, "manifest", None), BackendManifest):
        manifest.check()
    return backend


def _attribute(module: str) -> Any:
    return importlib.import_module(module).backend


def _refuse(message: str, hint: str) -> Any:
    raise BackendError(message, hint)


def _loaded(name: str, load: Callable[[], Any]) -> Backend | BackendError:
    """The backend that `load` returns if it is complete, else the reason why not."""
    try:
        backend = load()
        missing = [part for part in ("problems", "render", "parse") if not callable(getattr(backend, part, None))]
        if missing or not isinstance(getattr(backend, "manifest", None), BackendManifest):
            lacks = ", ".join(missing) or "a manifest"
            return BackendError(
                f"The engine {name} lacks {lacks}.",
                "It must have everything that trainer_core.engines.seam.Backend declares.",
            )
    except BackendError as error:
        return error
    except _FAILURES as error:
        return BackendError(
            f"The engine {name} cannot be loaded: {type(error).__name__}: {error}", "Update or remove its package."
        )
    return backend
