"""What an engine declares in its `backend.toml`, as typed data. Standard library only.

id, title, licence, rank, hidden, needs_installation: see BackendManifest
[families.*]           the model families it trains: see trainer_core.engines.claim
[refused]              a family that it does not train = the reason
[dataset]              how it reads a folder of images: see trainer_core.datasets.rules
[optimizers]           Easel's name of an optimizer = the engine's name
[optimizer_arguments]  an optimizer = the arguments that it always gets
[schedulers]           Easel's name of a schedule = the engine's name
[upstream]             where its source code comes from
[[environment]]        the versions that can be installed, best first; [[environment.torch]] the builds of torch for each:
                       see trainer_core.install.torch_choice
[estimate]             what it needs in memory and time: see trainer_core.engines.costs
[resume]               what it can do with a saved state: see trainer_core.engines.continuation
[demo]                 the base model for the demo

The same folder may contain `hub.toml` (trainer_core.engines.hub), `options.toml` (trainer_core.engines.option_rules) with the recorded options in `schema`,
`diagnosis.toml` (trainer_core.engines.diagnosis), and `dump_options.py` and `try_optimizers.py`, which run in the engine's Python.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trainer_core.datasets.rules import DatasetRules
from trainer_core.engines.claim import HINT, Cell, FamilyClaim, Written, read_claims
from trainer_core.engines.continuation import Continuation
from trainer_core.engines.costs import Costs
from trainer_core.errors import BackendError, InstallError, wrong_use
from trainer_core.files import from_table, read_toml, refuse_unknown
from trainer_core.places import CHECKOUT, resource

if TYPE_CHECKING:
    from trainer_core.engines.diagnosis import Signature
    from trainer_core.engines.hub import HubFiles
    from trainer_core.engines.option_rules import OptionRules

ENTRY_POINTS = "trainer_core.backends"
FILE = "backend.toml"


@dataclass(frozen=True)
class Upstream:
    """Where an engine comes from.

    `name` is the name of the program. An engine that runs from its source code has a `repository`, a `commit`, and the `digest`
    of its files (trainer_core.install.upstream.digest) without those in `exclude`; the files in `optional` may be missing in
    partial mirrors. `packages` is the folder in the sources that has its packages, if they are not at the top.
    `licence_notice` is shown before the installation.
    """

    name: str = ""
    repository: str = ""
    commit: str = ""
    digest: str = ""
    exclude: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    packages: str = ""
    licence_notice: str = ""


@dataclass(frozen=True)
class TorchBuild:
    """A build of torch for one kind of device.

    `build` is "registry" (the hashed pins) or a name for uv's `--torch-backend`, with the versions to install in `pins`. `driver`
    is the lowest supported driver version, `architectures` are those with kernels; empty means any. `because` is the reason why
    this build is chosen.
    """

    kind: Literal["cuda", "rocm", "xpu", "mps", "cpu"]
    build: str
    driver: str = ""
    architectures: tuple[str, ...] = ()
    because: str = ""
    pins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """One version of an engine that can be installed, with its Python versions, pins and builds of torch.

    `lock` is the file with pinned packages; backend.toml contains its name without the extension.
    """

    version: str
    python: tuple[str, ...]
    lock: Path
    disk_gib: float
    imports: tuple[str, ...]
    torch: tuple[TorchBuild, ...]
    imports_thorough: tuple[str, ...] = ()

    @property
    def torch_lock(self) -> Path:
        """The file with the pins of torch and of packages built for it, in the folder of `lock`."""
        return self.lock.with_name(f"{self.lock.stem}-torch.txt")

    def fingerprint(self, build: str, pins: Mapping[str, str], commit: str) -> str:
        """A hash that identifies the environment: it changes if any pin changes."""
        whole = hashlib.sha256(json.dumps([self.version, build, dict(pins), commit], sort_keys=True).encode())
        for lock in (self.lock, self.torch_lock):
            whole.update(lock.read_bytes())
        return whole.hexdigest()


@dataclass(frozen=True)
class Demo:
    """The base model for the demo with this engine.

    `base` is what the engine loads: one "checkpoint", or a diffusers "folder". The real model consists of the `files` (patterns)
    of the Hub's `repository`; without the Hub, a model with random weights is created. `resolution` is that of the training with
    the real model, in pixels; `ram_gib` is the free RAM that a training with the random model needs on a CPU.
    """

    base: Literal["checkpoint", "folder"]
    repository: str
    files: tuple[str, ...]
    resolution: int
    ram_gib: float = 0.0


@dataclass(frozen=True)
class BackendManifest:
    """The data of a `backend.toml`, and of the other files in its folder, which are read when they are first needed.

    `refused` maps a family id to the reason, as a sentence, why this engine does not train it. `hidden` engines are for tests and
    are never offered. If several engines suit a job alike, the one with the lowest `rank` is chosen (`engines.preference`). `optimizers` and `schedulers`
    map the names of the catalog to the engine's names; an optimizer always gets its `optimizer_arguments`. `needs_installation`
    is False for an engine that runs in Easel's own Python. `folder` contains the files.
    """

    id: str
    title: str
    licence: str
    families: Mapping[str, FamilyClaim]
    dataset: DatasetRules
    folder: Path
    refused: Mapping[str, str] = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Why it does not support something for which settings exist, as a sentence, by its key in a cell."""
    optimizers: Mapping[str, str] = field(default_factory=dict)
    optimizer_arguments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    schedulers: Mapping[str, str] = field(default_factory=dict)
    upstream: Upstream = Upstream()
    environment: tuple[Variant, ...] = ()
    estimate: Costs | None = None
    resume: Continuation | None = None
    demo: Demo | None = None
    hidden: bool = False
    needs_installation: bool = True
    rank: int = 100

    @property
    def has_source(self) -> bool:
        """Whether the engine runs from a folder with its source code."""
        return bool(self.upstream.repository)

    @property
    def commit(self) -> str:
        """The pinned commit, or "" for an engine from the package registry."""
        return self.upstream.commit

    @functools.cached_property
    def options(self) -> OptionRules:
        """The rules of `options.toml` about the engine's own options.

        Raises:
            BackendError: the file cannot be used, or `backend.toml` names an option that is not in it.
        """
        # Imported, like the file is read, when a plan is checked: a notebook that opens has none.
        from trainer_core.engines.option_rules import OptionRules

        path = self.folder / "options.toml"
        found = OptionRules()
        if path.is_file():
            found = from_table(OptionRules, read_toml(path, BackendError, HINT), str(path), BackendError, HINT)
        for table, names, known in _option_names(self, found):
            refuse_unknown(names, known, f"{self.folder / FILE} [{table}]", BackendError, HINT)
        return found

    @functools.cached_property
    def hub(self) -> Mapping[str, HubFiles]:
        """The files in `hub.toml` that its programs load from the Hub when they start, by repository.

        Raises:
            BackendError: the file cannot be used.
        """
        from trainer_core.engines.hub import HubFiles

        path = self.folder / "hub.toml"
        rows = read_toml(path, BackendError, HINT) if path.is_file() else {}
        return {
            name: from_table(HubFiles, row, f"{path} [{name}]", BackendError, HINT, {"id": name})
            for name, row in rows.items()
        }

    @functools.cached_property
    def diagnosis(self) -> tuple[Signature, ...]:
        """The known causes of failures in `diagnosis.toml`.

        Raises:
            BackendError: the file cannot be used.
        """
        from trainer_core.engines import diagnosis

        return diagnosis.load(self.folder / "diagnosis.toml", self.id, HINT)

    def check(self) -> None:
        """Compares the names in `backend.toml` with the catalog and the plan, and reads the files beside it.

        Otherwise these are read when they are first needed: the supervisor of a run needs none of them.

        Raises:
            BackendError: a file cannot be used, or has an unknown name.
        """
        for table, names, known in _names(self):
            refuse_unknown(names, known, f"{self.folder / FILE} [{table}]", BackendError, HINT)
        _ = self.options, self.diagnosis
        for family, claim in self.families.items():
            refuse_unknown(
                claim.hub_of(""), self.hub, f"{self.folder / FILE} [families.{family}] hub", BackendError, HINT
            )
            for written in filter(None, (cell.written for cell in claim.methods.values())):
                _check_patterns(written, f"{self.folder / FILE} [families.{family}] written")
        native = {name for topic in self.options.native.values() for name in topic}
        for key in ("bucket_options", "fills"):
            if unknown := {*getattr(self.dataset, key)} - native:
                file, names = self.folder / "backend.toml", ", ".join(sorted(unknown))
                raise BackendError(f"{file} [dataset] {key}: {names} is no native option of options.toml.", HINT)

    @property
    def schema(self) -> Path:
        """The folder with the recorded options of the engine's programs."""
        return self.folder / "schema"

    @property
    def dump(self) -> Path | None:
        """The script that lists the options of the engine's programs, if it exists: see trainer_core/install/inside/dump.py."""
        file = self.folder / "dump_options.py"
        return file if file.is_file() else None


def load_manifest(path: Path, cell: type[Cell] | None = Cell) -> BackendManifest:
    """The manifest from a `backend.toml`; unknown keys are errors. `check` of the result finds unknown names.

    `cell` is the engine's type of a cell, if it needs more keys than the core. The installer passes None, because it cannot
    import the engine's code: it ignores the engine's additional keys in [families].

    Raises:
        BackendError: a file cannot be read, is not TOML, lacks a key, or has an unknown key.
    """
    tables = read_toml(path, BackendError, HINT)
    claims = read_claims(tables.pop("families", {}), cell, str(path))
    found = from_table(
        BackendManifest,
        tables,
        str(path),
        BackendError,
        HINT,
        {
            "families": claims,
            "folder": path.parent,
        },
    )
    return replace(
        found, environment=tuple(replace(row, lock=_lock(path.parent, row.lock)) for row in found.environment)
    )


def _check_patterns(written: Written, where: str) -> None:
    for pattern in (written.layers, written.own_layers):
        try:
            re.compile(pattern)
        except re.error as error:
            raise BackendError(f"{where}: {pattern!r:.80} is no pattern of names: {error}.", HINT) from error


def _lock(folder: Path, name: Path) -> Path:
    """The file of pins with this name: in the folder of the `backend.toml`, or else in Easel's `requirements`."""
    own = folder / f"{name}.txt"
    return own if own.is_file() else resource("requirements") / f"{name}.txt"


def _names(found: BackendManifest) -> Iterator[tuple[str, Collection[str], Collection[str]]]:
    """(table, its names, the known names) for each table whose names are checked."""
    from trainer_core import catalog
    from trainer_core.plan import fields

    algorithms, methods = catalog.algorithms(), fields.all_fields()["model.method"].choices
    precisions = fields.all_fields()["memory.mixed_precision"].choices
    parts = [setting.name for setting in fields.parts()]
    yield "families", found.families, _families(found.families)
    yield "refused", found.refused, _families(found.refused)
    yield "lacks", found.lacks, [setting.about.claim for setting in fields.all_fields().values() if setting.about.claim]
    for family, claim in found.families.items():
        yield f"families.{family}.methods", claim.methods, methods
        yield f"families.{family}.parts", claim.parts, parts
        yield f"families.{family}.optional_parts", claim.optional_parts, tuple(claim.parts)
        yield f"families.{family}.part_layouts", claim.part_layouts, tuple(claim.parts)
        yield f"families.{family}.part_prefixes", claim.part_prefixes, tuple(claim.parts)
        yield f"families.{family}.variant_hub", claim.variant_hub, _variants(family) if claim.variant_hub else ()
        yield f"families.{family}.leading_prefixes", claim.leading_prefixes, ("path", *claim.parts)
        yield f"families.{family}.any_ending", claim.any_ending, ("path", *claim.parts)
        yield f"families.{family}.weight_variants", claim.weight_variants or (), precisions
        yield f"families.{family}.algorithms", claim.algorithms, algorithms
        yield f"families.{family}.forced", claim.forced, fields.all_fields()
    yield "optimizers", found.optimizers, catalog.optimizers()
    yield "optimizer_arguments", found.optimizer_arguments, found.optimizers
    yield "schedulers", found.schedulers, catalog.schedulers()
    if found.resume:
        yield "resume.extends_with", found.resume.extends_with, found.schedulers
    if costs := found.estimate:
        yield "estimate.layouts", costs.layouts, tuple(found.families)
        yield "estimate.own_networks", costs.own_networks, algorithms
        yield "estimate.usual_targets", costs.usual_targets, algorithms
        yield "estimate.vae_in_32_bits", costs.vae_in_32_bits, found.families
        yield "estimate.captions_in_8_bits", costs.captions_in_8_bits, found.families


def _option_names(found: BackendManifest, rules: OptionRules) -> Iterator[tuple[str, Collection[str], Collection[str]]]:
    """As `_names`, for the engine's own options."""
    if costs := found.estimate:
        native = [name for names in rules.native.values() for name in names]
        yield "estimate.captions_on_cpu", [costs.captions_on_cpu] if costs.captions_on_cpu else [], native
        for family, settings in costs.captions_in_8_bits.items():
            yield f"estimate.captions_in_8_bits.{family}", settings, native


def _families(names: Collection[str]) -> Collection[str]:
    """The ids of all families. The family files are read only if a name is not that of a shipped file, because that is slow."""
    shipped_families = {file.stem for file in (Path(__file__).parents[1] / "models" / "families").glob("*.toml")}
    if shipped_families >= set(names):
        return shipped_families
    from trainer_core.models.families import load_families

    return load_families()


def _variants(family: str) -> Collection[str]:
    from trainer_core.models.families import load_families

    return load_families()[family].variants


def read(engine: str) -> BackendManifest:
    """The manifest of an engine that has its own environment, as the installer needs it.

    Raises:
        InstallError: there is no such engine, or it does not have its own environment.
        BackendError: its files are not valid.
    """
    file = _file(engine)
    if file is None:
        raise wrong_use(InstallError(f"There is no engine called {engine}.", f"Easel has: {', '.join(installable())}."))
    found = load_manifest(file, cell=None)
    if not found.environment:
        raise InstallError(f"{found.title} does not need its own environment.", "There is nothing to install.")
    return found


def shipped() -> list[BackendManifest]:
    """The engines in this checkout or wheel that have their own environment, by rank."""
    every = (load_manifest(file, cell=None) for file in (CHECKOUT / "backends").glob(f"*/{FILE}"))
    return sorted((each for each in every if each.environment), key=lambda each: (each.rank, each.id))


def installable() -> list[str]:
    """The ids of the engines in this checkout or wheel that have their own environment, by rank."""
    return [each.id for each in shipped()]


def _file(engine: str) -> Path | None:
    """The `backend.toml` of one of Easel's engines, or else of a third-party package."""
    own = CHECKOUT / "backends" / engine / FILE
    if own.is_file():
        return own
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS, name=engine):
        found = importlib.util.find_spec(entry.module)
        for folder in found.submodule_search_locations or () if found else ():
            if Path(folder, FILE).is_file():
                return Path(folder, FILE)
    return None
