"""Every misspelt key of a manifest is refused by name, and the code reads every field of a manifest."""

from __future__ import annotations

import ast
import copy
import dataclasses
import shutil
import sys
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from backends import kohya, simpletuner
from backends.kohya.translation import Translation as KohyaTranslation
from backends.simpletuner.translation import Translation as SimpleTunerTranslation
from trainer_core import places
from trainer_core.engines import manifest, registry
from trainer_core.engines.claim import Cell
from trainer_core.engines.manifest import BackendManifest, load_manifest
from trainer_core.errors import BackendError
from trainer_core.files import from_table
from trainer_core.install import build

BACKENDS = registry.available(include_hidden=True)
IDS = [backend.manifest.id for backend in BACKENDS]

Place = tuple[str | int, ...]
"""The position of a table in a file: the keys and indexes that lead to it."""

FREE = {
    "pins",
    "always",
    "prompts",
    "fixed",
    "shifted",
    "sample",
    "swap",
    "caption_tokens",
    "controls",
    "flavours",
    "adapters",
    "without",
    "native",
}
"""Tables in a backend.toml whose keys are not names of the manifest: packages, options of the engine, which another test compares
with its records, and variants of a model, which the contract checks."""


def cell_type(backend) -> type[Cell]:
    return next(type(cell) for claim in backend.manifest.families.values() for cell in claim.methods.values())


def keys(table: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """(place, key) of every key in every table of a file, except in free tables; of a list, once for all its entries, which have one type."""
    seen: set[tuple[Place, str]] = set()
    for where, key in every_key(table, place):
        kind = tuple("" if isinstance(step, int) else step for step in where), key
        if kind not in seen:
            seen.add(kind)
            yield where, key


def every_key(table: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(table, dict):
        for key, value in table.items():
            yield place, key
            if key not in FREE:
                yield from every_key(value, (*place, key))
    elif isinstance(table, list):
        for number, entry in enumerate(table):
            yield from every_key(entry, (*place, number))


def misspelt(table: dict[str, Any], place: Place, key: str) -> dict[str, Any]:
    """A copy of the file with one misspelt key."""
    changed = copy.deepcopy(table)
    inner: Any = changed
    for step in place:
        inner = inner[step]
    entries = list(inner.items())
    inner.clear()
    inner.update({f"{name}x" if name == key else name: value for name, value in entries})
    return changed


@pytest.mark.parametrize("backend", BACKENDS, ids=IDS)
def test_every_misspelt_key_of_a_backend_toml_is_refused_with_its_file_and_table(backend, tmp_path):
    folder = backend.manifest.folder
    for name in ("options.toml", "hub.toml"):
        shutil.copyfile(folder / name, tmp_path / name) if (folder / name).is_file() else None
    file, table = tmp_path / "backend.toml", tomllib.loads((folder / "backend.toml").read_text("utf-8"))
    cell = cell_type(backend)
    file.write_text(tomli_w.dumps(table))
    assert load_manifest(file, cell).families == backend.manifest.families
    for place, key in keys(table):
        file.write_text(tomli_w.dumps(misspelt(table, place, key)))
        with pytest.raises(BackendError) as found:
            load_manifest(file, cell).check()
        message = found.value.message
        assert message.startswith(str(file)), message
        assert f"{key}x" in message, (place, message)
        named = [step for step in place if isinstance(step, str) and step != "methods"]
        assert all(step in message for step in named), (place, message)


@pytest.mark.parametrize("name", ["options.toml", "diagnosis.toml", "hub.toml"])
@pytest.mark.parametrize("backend", BACKENDS, ids=IDS)
def test_every_misspelt_key_of_its_companion_files_is_refused_with_its_file_and_table(backend, name, tmp_path):
    folder = backend.manifest.folder
    if not (folder / name).is_file():
        return
    for each in ("backend.toml", "options.toml", "hub.toml"):
        if (folder / each).is_file():
            shutil.copyfile(folder / each, tmp_path / each)
    table = tomllib.loads((folder / name).read_text("utf-8"))
    for place, key in keys(table):
        if name == "hub.toml" and not place:
            continue  # a repository, which backend.toml names
        if {"native", "refused", "bounds", "needs", "parts", "called", "settings"} & {*place}:
            continue  # the names of options, which are compared with the records in another test
        (tmp_path / name).write_text(tomli_w.dumps(misspelt(table, place, key)))
        with pytest.raises(BackendError, match=f"{key}x") as found:
            load_manifest(tmp_path / "backend.toml", cell_type(backend)).check()
        assert found.value.message.startswith(str(tmp_path / name))
        assert all(str(step) in found.value.message for step in place)


@pytest.mark.parametrize(("module", "kind"), [(kohya, KohyaTranslation), (simpletuner, SimpleTunerTranslation)])
def test_every_misspelt_key_of_a_translation_is_refused(module, kind):
    table = tomllib.loads(Path(module.__file__).with_name("translation.toml").read_text("utf-8"))
    declared = {each.name for inner in types_in(kind) for each in dataclasses.fields(inner)}
    for place, key in keys(table):
        if key not in declared or place[:1] == ("layers",) or len(place) == 1:
            continue  # the name of a setting, an optimizer, a network algorithm or a layer
        with pytest.raises(BackendError, match=f"{key}x"):
            from_table(kind, misspelt(table, place, key), "translation.toml", BackendError)


def test_an_engine_without_its_own_type_of_cell_can_use_only_the_keys_of_the_core(tmp_path):
    for name in ("backend.toml", "options.toml", "hub.toml"):
        shutil.copyfile(registry.get("kohya").manifest.folder / name, tmp_path / name)
    with pytest.raises(BackendError, match=r"\[families\.sd15\] has an unknown key"):
        load_manifest(tmp_path / "backend.toml")
    assert load_manifest(tmp_path / "backend.toml", cell=None).families.keys() >= {"sd15", "flux"}


def test_the_table_of_a_method_takes_precedence_over_that_of_its_family():
    families: Any = registry.get("kohya").manifest.families
    assert families["sd3"].cell("lora").bucket_step == 32
    assert (families["sdxl"].cell("lora").bucket_step, families["lumina2"].cell("full").swap) == (32, {})
    assert families["sd3"].cell("textual_inversion") == Cell()


def test_the_installer_reads_the_same_manifest_without_the_engines_additional_keys():
    assert [found.id for found in manifest.shipped()] == ["kohya", "musubi", "simpletuner"]
    for found in manifest.shipped():
        whole = registry.get(found.id).manifest
        assert dataclasses.replace(found, families={}) == dataclasses.replace(whole, families={})
        assert found.families.keys() == whole.families.keys()


CITATIONS = {"Ignored.source"}
"""Sources of facts, for readers of the file and for tests."""


def types_in(kind: Any) -> Iterator[type]:
    """A dataclass and all dataclasses in its fields."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        yield kind
        for hint in typing.get_type_hints(kind).values():
            yield from types_in(hint)
    for inner in typing.get_args(kind):
        yield from types_in(inner)


def test_the_code_reads_every_field_of_a_manifest_and_of_a_cell():
    files = [
        *(places.CHECKOUT / "trainer_core").rglob("*.py"),
        *(places.CHECKOUT / "trainer_ui").rglob("*.py"),
        *(places.CHECKOUT / "backends").rglob("*.py"),
        places.CHECKOUT / "installer.py",
    ]
    read: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                read.add(node.attr)
    kinds = {*types_in(BackendManifest), *(inner for backend in BACKENDS for inner in types_in(cell_type(backend)))}
    kinds |= {*types_in(KohyaTranslation), *types_in(SimpleTunerTranslation)}
    unread = {
        f"{kind.__name__}.{each.name}" for kind in kinds for each in dataclasses.fields(kind) if each.name not in read
    }
    assert unread - CITATIONS <= LOOKED_UP


LOOKED_UP = {f"{kind}.{name}" for kind in ("Layers", "Ranks") for name in ("attention", "attention_mlp", "full")}
"""Fields that are read by name, from the value of `network.targets`."""


def test_an_installation_finds_packages_that_are_not_at_the_top_of_the_sources(tmp_path):
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(sys.executable)
    inside = tmp_path / "source" / "src"
    inside.mkdir(parents=True)
    (inside / "torch.py").write_text(
        "from types import SimpleNamespace\n__version__ = '1'\nversion = SimpleNamespace(cuda=None, hip=None)"
    )
    (inside / "the_engine.py").write_text("")
    seen, failure = build.check(tmp_path, ["the_engine"], "cpu", "src")
    assert (seen["torch"], failure) == ("1", "")
    assert "the_engine" in build.check(tmp_path, ["the_engine"], "cpu")[1]
