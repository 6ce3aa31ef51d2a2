"""Reads commands and configurations of sd-scripts: what becomes of each option in a plan. The inverse of rendering.

Which option follows from which setting is data: [settings] of `options.toml`, and the tables of `translation.toml`. The functions
here are for options whose value has another form in a plan. Source: library/train_util.py; config_util.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from backends.kohya import pasted_dataset, pasted_gui, pasted_trained
from backends.kohya.pasted_read import Read
from trainer_core.engines import audit, launcher, options, pasted_training
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.option_rules import decide
from trainer_core.engines.options import EngineOptions, Option
from trainer_core.engines.pasted import Files, Given, Item, Reading, shown
from trainer_core.engines.pasted_options import direct, named, native, same, typed, unsaid

EASELS = {
    "config_file": "it was read.",
    "console_log_file": "Easel records the engine's output.",
    "console_log_level": "Easel records the engine's output.",
    "console_log_simple": "Easel records the engine's output.",
    "log_config": "Easel records the engine's output.",
    "log_prefix": "Easel records the engine's output.",
    "log_tracker_name": "Easel reads the loss from the engine's own logs.",
    "log_with": "Easel reads the loss from the engine's own logs.",
    "logging_dir": "each run has a folder of its own.",
    "output_dir": "each run has a folder of its own; the finished file is copied to output.folder.",
    "save_model_as": "the result is always a .safetensors file.",
    "use_safetensors": "the result is always a .safetensors file.",
    "v2": "the model's file says it.",
}
"""Options that need no setting, because Easel takes care of what they are for."""
OF_NETWORKS = ("network_module", "network_dim", "network_alpha", "network_args")
"""Options of which a configuration that names no program has at least one where it trains a network."""
TABLES = ("general", "dataset", "subset")
"""The records of the options in the description of a dataset."""


def candidates(program: str, manifest: BackendManifest) -> list[tuple[str, str]]:
    """The families and methods that a program trains."""
    return [
        (family, method)
        for family, claim in manifest.families.items()
        for method, cell in claim.methods.items()
        if PurePosixPath(cell.program).stem == program
    ]


def reads(given: Given, manifest: BackendManifest) -> bool:
    """Whether a text is for sd-scripts: it names one of its programs, or most options are its own."""
    if given.program:
        return bool(candidates(given.program, manifest))
    if pasted_gui.is_saved(given):
        return True
    known = _every(manifest).options
    # A trainer of the same author shares most options. It names its model so, and its folders without `subsets`.
    if "dit" in given.options or pasted_dataset.is_foreign(given.options):
        return False
    return 2 * sum(name in known for name in given.options) >= len(given.options)


def _every(manifest: BackendManifest) -> EngineOptions:
    """The options of all programs and of the dataset's description."""
    found = {
        name: option for record in audit.records(manifest.schema).values() for name, option in record.options.items()
    }
    return EngineOptions("sd-scripts", "", found)


def read(given: Given, family: str, manifest: BackendManifest, files: Files) -> Reading:
    """What becomes of each option.

    Raises:
        PlanError: it is a configuration of the kohya GUI for another training method than a LoRA.
    """
    if pasted_gui.is_saved(given):
        form = pasted_gui.converted(given)
        reading = read(form.given, family, manifest, files)
        return replace(reading, items=(*map(form.named, reading.items), *form.items))
    options_given, notes = pasted_dataset.with_files(given.options, files)
    family, method = _cell(given, options_given, family, manifest)
    record = options.of_program(manifest, family, method) or _every(manifest)
    full, wrong = named(options_given, record, _described(manifest))
    read_ = Read(manifest, family, method, record, full, files, _processes(given.launch))
    items = [*notes, *wrong]
    done: set[str] = set()
    for name in (*full, *_absent(read_)):
        if name not in done:
            done.add(name)
            items += list(_of(read_, name)) or unsaid(read_, name)
    items += [Item(word, "", "refused", reason=why) for word, why in given.unread]
    items += _launched(given.launch, manifest, read_)
    return Reading(method, family, tuple(items))


def _described(manifest: BackendManifest) -> dict[str, Option]:
    """The options of the description of a dataset, by name, which every program reads."""
    records = audit.records(manifest.schema)
    return {name: option for table in TABLES for name, option in records[table].options.items()}


def _processes(launch: Mapping[str, Any]) -> int:
    """How many processes the launcher starts."""
    number = str(launch.get("num_processes", "1"))
    return max(1, int(number)) if number.isdecimal() and len(number) < 4 else 1


def _cell(given: Given, full: Mapping[str, Any], family: str, manifest: BackendManifest) -> tuple[str, str]:
    """The family and the method: of the program, else as the options say. The model's own file decides about the family later."""
    cells = candidates(given.program, manifest)
    if not cells:
        method = (
            "lora"
            if any(name in full for name in OF_NETWORKS)
            else "textual_inversion"
            if "token_string" in full
            else "full"
        )
        cells = [(name, method) for name, claim in manifest.families.items() if method in claim.methods]
        named = {"flux": "ae", "sd3": "clip_g", "lumina2": "gemma2", "anima": "qwen3", "hunyuan_image": "byt5"}
        cells.sort(key=lambda cell: named.get(cell[0], "") not in full if cell[0] in named else cell[0] != "sdxl")
    if full.get("v2"):
        cells.sort(key=lambda cell: cell[0] != "sd2")
    if full.get("model_type") == "chroma":
        cells.sort(key=lambda cell: cell[0] != "chroma")
    return next((cell for cell in cells if cell[0] == family), cells[0])


def _absent(read_: Read) -> Iterator[str]:
    """The options that the text does not have, and whose default in the engine differs from Easel's."""
    for name, option in read_.record.options.items():
        if name not in read_.given and name in read_.manifest.options.settings and option.default is not None:
            yield name
    yield from (name for name in pasted_trained.MISSING if name in read_.record.options and name not in read_.given)


SPECIAL: Mapping[str, Callable[[Read, str, Any], Iterator[Item]]] = {
    **pasted_training.SPECIAL,
    **pasted_dataset.SPECIAL,
    **pasted_trained.SPECIAL,
}
"""How the value of an option becomes that of a setting, where it has another form there."""


def _of(read_: Read, name: str) -> Iterator[Item]:
    """What becomes of one option."""
    value = read_.value(name)
    if name in EASELS:
        if name in read_.given:
            yield same(read_, name, EASELS[name])
        return
    if name in read_.cell.caption_options and name in read_.given:
        yield from direct(read_, name, "dataset.caption_tokens", value)
        return
    if name in SPECIAL:
        yield from SPECIAL[name](read_, name, value)
        return
    path = read_.manifest.options.settings.get(name) or read_.manifest.options.dataset.settings.get(name, "")
    if path:
        yield from direct(read_, name, path, value)
    elif name in read_.given:
        yield native(read_, name, value)


def _launched(launch: Mapping[str, Any], manifest: BackendManifest, read_: Read) -> Iterator[Item]:
    """The options of the launcher before the program."""
    record = options.of_launcher(manifest)
    for name, value in launch.items():
        rules = manifest.options.launch
        option = record.options.get(name) if record else None
        if option is None:
            yield Item(f"launch {name}", shown(value), "refused", reason="the launcher has no such option.")
            continue
        decision, given = decide(rules, name), typed(option, value)
        shown_value = shown(value)
        if decision.kind == "native" and not _is_usual(name, given):
            path = f"native.{manifest.id}.{launcher.TABLE}.{name}"
            yield Item(f"launch {name}", shown_value, "native", path, given)
        elif decision.kind == "owned" and name in read_.given:
            yield Item(f"launch {name}", shown_value, "same", reason="the option of the program counts.")
        elif decision.kind == "owned" and rules.settings.get(name):
            for one in direct(read_, name, rules.settings[name], given):
                yield Item(f"launch {name}", shown_value, one.kind, one.path, one.value, one.reason)
        elif decision.kind == "native":
            yield Item(f"launch {name}", shown_value, "same", reason="one process does not need the launcher.")
        else:
            yield Item(f"launch {name}", shown_value, "refused", reason=decision.reason or "Easel determines it.")


def _is_usual(name: str, value: Any) -> bool:
    """Whether a launcher's option only says how one process is started, which Easel does without the launcher."""
    return (name == "num_processes" and value == 1) or name in (
        "num_cpu_threads_per_process",
        "dynamo_backend",
        "main_process_port",
    )
