"""Finds the training engines: Easel's own beside this package, and those of other packages by entry point.

Nothing lists them. An engine that cannot be loaded is kept as the error that says why, and never breaks the others.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import pkgutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer_core.backend import Backend, BackendManifest, DatasetRules, FamilyClaim
from trainer_core.errors import BackendError
from trainer_core.places import CHECKOUT

ENTRY_POINTS = "trainer_core.backends"
OWN = "backends"

# What importing somebody's module can raise. Interrupts and exits of the whole process are not among them.
_IMPORT_FAILURES = (
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
    """The engines that can be used, by id; hidden ones exist for tests and are left out unless asked for."""
    found = (backend for _, backend in sorted(_found().items()) if not isinstance(backend, BackendError))
    return tuple(backend for backend in found if include_hidden or not backend.manifest.hidden)


def broken() -> Mapping[str, BackendError]:
    """The engines that are there but cannot be used, by id, each with its reason."""
    return {name: found for name, found in sorted(_found().items()) if isinstance(found, BackendError)}


def get(name: str) -> Backend:
    """The engine with this id, hidden ones included.

    Raises:
        BackendError: there is none, or it cannot be used.
    """
    found = _found().get(name)
    if found is None:
        known = ", ".join(backend.manifest.id for backend in available())
        raise BackendError(f"There is no training engine called {name!r:.80}.", f"Known: {known or 'none'}.")
    if isinstance(found, BackendError):
        raise found
    return found


def refresh() -> None:
    """Forgets what was found, so that an engine installed since then is seen."""
    _found.cache_clear()


def load_manifest(path: Path) -> BackendManifest:
    """The manifest in a `backend.toml`, with the failure signatures of the `diagnosis.toml` beside it.

    What the `options.toml` beside it says about the engine's options is at `tables["options"]`, and there at "schema" the
    folder of the recorded options.

    Raises:
        BackendError: a file cannot be read, is not TOML, or lacks something.
    """
    tables = _toml(path)
    signatures, options = path.with_name("diagnosis.toml"), path.with_name("options.toml")
    if options.is_file():
        tables["options"] = {**tables.get("options", {}), **_toml(options), "schema": path.with_name("schema")}
    try:
        dataset = tables["dataset"]
        return BackendManifest(
            id=tables["id"],
            title=tables["title"],
            licence=tables["licence"],
            families={family: _claim(family, dict(table)) for family, table in tables["families"].items()},
            refused=tables.get("refused", {}),
            optimizers=tables.get("optimizers", {}),
            schedulers=tables.get("schedulers", {}),
            dataset=DatasetRules(**{**dataset, "extensions": frozenset(dataset["extensions"])}),
            diagnosis=_toml(signatures).get("signature", ()) if signatures.is_file() else (),
            hidden=tables.get("hidden", False),
            needs_installation=tables.get("needs_installation", True),
            rank=tables.get("rank", 100),
            tables=tables,
        )
    except TypeError as error:
        raise BackendError(
            f"{path}: [dataset] does not fit: {error}.", "docs/adding.md names what an engine declares."
        ) from error
    except KeyError as error:
        raise BackendError(
            f"{path} does not say {error.args[0]!r}.", "docs/adding.md names what an engine declares."
        ) from error


def _claim(family: str, table: dict[str, Any]) -> FamilyClaim:
    """A family's table; `methods` is a list of names, or a table of the engine's words by method."""
    methods = table.pop("methods")
    parts, optional = table.pop("parts", {}), tuple(table.pop("optional_parts", ()))
    algorithms = tuple(table.pop("algorithms", ("lora",)))
    by_method = methods if isinstance(methods, Mapping) else {method: {} for method in methods}
    return FamilyClaim(family, by_method, table, parts, optional, algorithms)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BackendError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise BackendError(f"{path} is not TOML: {error}.") from error


@functools.cache
def _found() -> dict[str, Backend | BackendError]:
    found: dict[str, Backend | BackendError] = {}
    for name, load in (*_own(), *_others()):
        backend = _loaded(name, load)
        key = name if isinstance(backend, BackendError) else backend.manifest.id
        if key in found:
            # The first one keeps its name: a stranger cannot take the place of an engine that is known.
            key, backend = (
                f"{key} ({name})",
                BackendError(f"There is another engine called {key}.", "One of them must be renamed."),
            )
        found[key] = backend
    return found


def _own() -> Iterator[tuple[str, Callable[[], Any]]]:
    """The sub-packages of `backends`, which must be the one that lies beside this package."""
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
        stranger = ", ".join(str(place) for place in places)
        message = f"Another package called {OWN!r} hides Easel's engines: {stranger}."
        yield OWN, functools.partial(_refuse, message, "Remove it, or put Easel in an environment of its own.")
        return
    for module in pkgutil.iter_modules([str(CHECKOUT / OWN)]):
        if module.ispkg:
            yield module.name, functools.partial(_attribute, f"{OWN}.{module.name}")


def _others() -> Iterator[tuple[str, Callable[[], Any]]]:
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        yield point.name, point.load


def _attribute(module: str) -> Any:
    return importlib.import_module(module).backend


def _refuse(message: str, hint: str) -> Any:
    raise BackendError(message, hint)


def _loaded(name: str, load: Callable[[], Any]) -> Backend | BackendError:
    """What `load` gives, when it keeps the seam's contract, else the reason why not."""
    try:
        backend = load()
        missing = [part for part in ("problems", "render", "parse") if not callable(getattr(backend, part, None))]
        if missing or not isinstance(getattr(backend, "manifest", None), BackendManifest):
            lacks = ", ".join(missing) or "a manifest"
            return BackendError(
                f"The engine {name} lacks {lacks}.", "It needs what trainer_core.backend.Backend names."
            )
    except BackendError as error:
        return error
    except _IMPORT_FAILURES as error:
        return BackendError(
            f"The engine {name} cannot be loaded: {type(error).__name__}: {error}", "Update or remove its package."
        )
    return backend
