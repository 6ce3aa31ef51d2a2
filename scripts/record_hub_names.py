"""Records which repositories of the Hugging Face Hub the code of an engine names, in tests/data/hub_names.json.

    .venv/bin/python scripts/record_hub_names.py kohya <folder of sd-scripts>
    .venv/bin/python scripts/record_hub_names.py simpletuner <folder of the package simpletuner>
    .venv/bin/python scripts/record_hub_names.py musubi <folder of the package musubi_tuner>

A name is a text like owner/name that a constant has, or that is given to a call which loads something from the Hub. The tests say
for each constant which families need it, and hold that against the engine's hub.toml.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from trainer_core.engines import registry
from trainer_core.engines.manifest import BackendManifest

TARGET = ROOT / "tests" / "data" / "hub_names.json"
REPOSITORY = re.compile(r"[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w.-]*")
CONSTANT = re.compile(r"_?[A-Z0-9_]*[A-Z][A-Z0-9_]*|\w+_(id|path|repo|name|sources)")
"""The names of constants, and of variables that have such a name by their own."""
LOADERS = ("from_pretrained", "hf_hub_download", "snapshot_download", "from_single_file", "load_tokenizer")
PLACES = re.compile(r"(SUBFOLDER|FILENAME|^name|subfolder)$")
"""The end of a constant or key whose value is a path, or a title, and no repository."""
FILES = re.compile(r"\.(json|safetensors|py|txt|yaml)$|^application/")


def patterns(manifest: BackendManifest) -> list[str]:
    """The files of an engine that its trainings of the claimed families can load, as patterns below its folder."""
    cells = [cell for claim in manifest.families.values() for cell in claim.methods.values()]
    models = sorted({cell.model_family for cell in cells if cell.model_family})
    return {
        "kohya": ["library/*.py", "networks/*.py", "*train*.py"],
        "simpletuner": [*(f"helpers/models/{name}/*.py" for name in models), "helpers/models/*.py"],
        "musubi": ["*.py", *(f"{name}/*.py" for name in ("qwen_image", "zimage", "krea2", "flux_2", "flux", "utils"))],
    }[manifest.id]


def named(engine: str, folder: Path) -> dict[str, list[str]]:
    """The repositories that the code of an engine names, by file and constant or call."""
    found: dict[str, set[str]] = {}
    for pattern in patterns(registry.get(engine).manifest):
        for file in sorted(folder.glob(pattern)):
            with warnings.catch_warnings(action="ignore"):  # about the engine's own texts
                tree = ast.parse(file.read_text("utf-8"))
            for place, name in _in_file(tree):
                found.setdefault(f"{file.relative_to(folder).as_posix()} {place}", set()).add(name)
    return {place: sorted(found[place]) for place in sorted(found)}


def _in_file(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                place = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
                if not CONSTANT.fullmatch(place) or PLACES.search(place):
                    continue
                if place.endswith("_sources") and isinstance(node.value, ast.Dict):
                    yield from _by_key(place, node.value)
                else:
                    yield from ((place, name) for name in _texts(node.value))
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called.lstrip("_") in LOADERS:
                yield from ((f"{called}()", name) for value in node.args[:1] for name in _texts(value))
            for keyword in node.keywords:
                if keyword.arg in ("repo_id", "pretrained_model_name_or_path"):
                    yield from ((f"{keyword.arg}=", name) for name in _texts(keyword.value))


def _by_key(place: str, table: ast.Dict) -> Iterator[tuple[str, str]]:
    """The names in a table by family, each with its key."""
    for key, value in zip(table.keys, table.values, strict=True):
        yield from ((f"{place}[{getattr(key, 'value', '')}]", name) for name in _texts(value))


def _texts(node: ast.expr) -> Iterator[str]:
    """The names of repositories in a value, also inside tables and lists."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        if REPOSITORY.fullmatch(node.value) and not FILES.search(node.value):
            yield node.value
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if not (isinstance(key, ast.Constant) and PLACES.search(str(key.value))):
                yield from _texts(value)
    elif isinstance(node, ast.List | ast.Tuple | ast.Set):
        for value in node.elts:
            yield from _texts(value)
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)


if __name__ == "__main__":
    engine, folder = sys.argv[1], Path(sys.argv[2])
    table = json.loads(TARGET.read_text("utf-8")) if TARGET.is_file() else {}
    table[engine] = named(engine, folder)
    TARGET.write_text(json.dumps(dict(sorted(table.items())), indent=1) + "\n", encoding="utf-8")
    print(f"{engine}: {len(table[engine])} places")
