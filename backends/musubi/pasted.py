"""Reads commands and configurations of musubi-tuner: what becomes of each option in a plan. The inverse of rendering.

Source: training/parser_common.py and training/trainer_base.py; dataset/config_utils.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from backends.musubi import arguments, pasted_dataset, render
from backends.musubi.cell import MusubiCell
from trainer_core.engines import audit, options, pasted_training
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.options import EngineOptions
from trainer_core.engines.pasted import Files, Given, Item, Reading, shown
from trainer_core.engines.pasted_options import (
    Read,
    checked,
    direct,
    item,
    named,
    native,
    of_type,
    pairs_in,
    refused,
    same,
    unsaid,
)
from trainer_core.engines.pasted_training import OptimizerReader, Reader
from trainer_core.plan import fields

METHOD = "lora"
EASELS = {
    "cache_directory": "each run has a cache of its own.",
    "config_file": "it was read.",
    "fp8_scaled": "Easel always sets it together with fp8_base.",
    "log_with": "Easel reads the loss from the engine's own logs.",
    "logging_dir": "each run has a folder of its own.",
    "metadata_reso": "Easel writes the resolution of the plan.",
    "output_dir": "each run has a folder of its own; the finished file is copied to output.folder.",
    "sdpa": "Easel always uses it.",
}
"""Options that need no setting, because Easel takes care of what they are for."""
ONE_PROCESS = (
    "dynamo_backend",
    "gpu_ids",
    "main_process_port",
    "num_cpu_threads_per_process",
    "num_machines",
)
SEVERAL = "Easel starts this engine on one device: with several it was not tried."
MISSING = ("network_dim", "optimizer_args", "timestep_sampling")
"""Options whose absence means something that is not the default of a setting."""
USUAL_RANK = 4
"""Source: networks/lora.py, create_network."""
SHIFTED = "shift"


def _cells(manifest: BackendManifest) -> Iterator[tuple[str, MusubiCell]]:
    for family, claim in manifest.families.items():
        cell = claim.cell(METHOD)
        assert isinstance(cell, MusubiCell)
        yield family, cell


def reads(given: Given, manifest: BackendManifest) -> bool:
    """Whether a text is for musubi-tuner: it names one of its programs, its model, or images as only its descriptions do."""
    if given.program:
        return any(PurePosixPath(cell.program).stem == given.program for _, cell in _cells(manifest))
    return "dit" in given.options or pasted_dataset.is_description(given.options)


def read(given: Given, family: str, manifest: BackendManifest, files: Files) -> Reading:
    """What becomes of each option."""
    full, notes = pasted_dataset.with_files(given.options, files)
    family = _family(given, full, family, manifest)
    records = audit.records(manifest.schema)
    record = options.of_program(manifest, family, METHOD) or EngineOptions("musubi-tuner", "", {})
    own, wrong = named(full, record, records["dataset"].options)
    read_ = Read(manifest, family, METHOD, record, own, files)
    items = [*notes, *wrong]
    absent = (name for name in record.options if name in manifest.options.settings and name not in own)
    for name in dict.fromkeys((*own, *absent, *MISSING)):
        items += list(_of(read_, name)) or unsaid(read_, name)
    items += [Item(word, "", "refused", reason=why) for word, why in given.unread]
    items += _launched(given.launch, read_)
    return Reading(METHOD, family, tuple(items))


def _family(given: Given, full: Mapping[str, Any], family: str, manifest: BackendManifest) -> str:
    """The family that the program trains; of a configuration, that of its network or of the present model."""
    cells = dict(_cells(manifest))
    of_program = [name for name, cell in cells.items() if PurePosixPath(cell.program).stem == given.program]
    of_network = [name for name, cell in cells.items() if cell.network == full.get("network_module")]
    possible = of_program or of_network or list(cells)
    return family if family in possible else possible[0]


def _of(read_: Read, name: str) -> Iterator[Item]:
    """What becomes of one option."""
    value = read_.value(name)
    if name in EASELS:
        if name in read_.given:
            yield same(read_, name, EASELS[name])
    elif name in SPECIAL:
        yield from SPECIAL[name](read_, name, value)
    elif path := read_.manifest.options.settings.get(name) or read_.manifest.options.dataset.settings.get(name, ""):
        if value is not None:
            yield from direct(read_, name, path, value)
    elif name in read_.given:
        yield native(read_, name, value)


# ---- the model and its network -------------------------------------------------------------------------------------


def _cell(read_: Read) -> MusubiCell:
    assert isinstance(read_.cell, MusubiCell)
    return read_.cell


def _variant(read_: Read, name: str, value: Any) -> Iterator[Item]:
    if name not in read_.given:
        return
    known = {spelled: own for own, spelled in _cell(read_).flavours.items()}
    if value in known:
        yield item(read_, name, "setting", "model.variant", known[value])
    else:
        yield refused(read_, name, f"Easel trains {', '.join(known)} with this program.")


def _algorithm(read_: Read) -> str:
    """The algorithm of the network; "" if Easel has none of this kind."""
    module = read_.given.get("network_module")
    own = next((name for name, each in render.NETWORKS.items() if each == module), "")
    return own or ("lora" if module in {cell.network for _, cell in _cells(read_.manifest)} else "")


def _module(read_: Read, name: str, _: Any) -> Iterator[Item]:
    if name not in read_.given:
        return
    if found := _algorithm(read_):
        yield item(read_, name, "setting", "network.algorithm", found)
    else:
        yield refused(read_, name, "Easel has no network of this kind.")


def _rank(read_: Read, name: str, value: Any) -> Iterator[Item]:
    yield from direct(read_, name, "network.rank", USUAL_RANK if value is None else value)


def _alpha(read_: Read, name: str, value: Any) -> Iterator[Item]:
    # 0 means the rank. Source: networks/lora.py, LoRAModule.
    yield from direct(read_, name, "network.alpha", value or read_.value("network_dim") or USUAL_RANK)


def _network(read_: Read, option: str, value: Any) -> Iterator[Item]:
    names = {key: setting for setting, key in render.NETWORK_ARGUMENTS.items()}
    for key, text in pairs_in(value).items():
        path = f"network.{names[key]}" if key in names else ""
        if path:
            yield from checked(read_, option, key, text, path, of_type(path, text))
        else:
            yield Item(f"{option} {key}", text, "native", f"native.{read_.manifest.id}.{option}.{key}", text)


# ---- optimizer, schedule and memory --------------------------------------------------------------------------------


def _optimizer(read_: Read) -> str:
    """Easel's name of the optimizer; "" if it has none of this name. Source: training/trainer_base.py, get_optimizer."""
    spelled = str(read_.value("optimizer_type") or "AdamW").lower()
    return next((name for name, own in read_.manifest.optimizers.items() if own.lower() == spelled), "")


def _optimizer_type(read_: Read, name: str, _: Any) -> Iterator[Item]:
    if name not in read_.given:
        return
    if found := _optimizer(read_):
        yield item(read_, name, "setting", "optimizer.name", found)
    else:
        known = ", ".join(read_.manifest.optimizers.values())
        yield refused(read_, name, f"Easel does not know this optimizer of the engine. It knows {known}.")


def _rate(read_: Read, name: str, value: Any) -> Iterator[Item]:
    if _optimizer(read_):
        yield from direct(read_, name, "optimizer.learning_rate", value)
    elif name in read_.given:
        yield refused(read_, name, pasted_training.NO_OPTIMIZER)


def _timesteps(read_: Read, name: str, value: Any) -> Iterator[Item]:
    """How timesteps are drawn: as Easel does it for the family, shifted by a number, or in another way as an own option."""
    if value == _cell(read_).fixed.get(name) or (value == SHIFTED and "discrete_flow_shift" in read_.record.options):
        if name in read_.given:
            yield same(read_, name, "Easel sets it so.")
    else:
        yield item(read_, name, "native", f"native.{read_.manifest.id}.{name}", value)


def _shift(read_: Read, name: str, value: Any) -> Iterator[Item]:
    if read_.value("timestep_sampling") != SHIFTED:
        if name in read_.given:
            yield same(read_, name, f"it counts only with timestep_sampling {SHIFTED}.")
    elif _cell(read_).fixed.get(name) == value:
        if name in read_.given:
            yield same(read_, name, "Easel sets it so.")
    else:
        # Without it the engine shifts by 1, and Easel by the value of the family.
        yield item(read_, name, "setting", "schedule.flow_shift", value)


def _precision(read_: Read, name: str, value: Any) -> Iterator[Item]:
    if value is not None:
        yield from direct(read_, name, "memory.mixed_precision", value)


OPTIMIZER = OptimizerReader(_optimizer, arguments.follows, render.WARMS_UP_ITSELF)
SPECIAL: Mapping[str, Reader] = {
    **pasted_training.SPECIAL,
    **OPTIMIZER.special,
    **pasted_dataset.SPECIAL,
    "discrete_flow_shift": _shift,
    "learning_rate": _rate,
    "mixed_precision": _precision,
    "model_version": _variant,
    "network_alpha": _alpha,
    "network_args": _network,
    "network_dim": _rank,
    "network_module": _module,
    "optimizer_type": _optimizer_type,
    "timestep_sampling": _timesteps,
}
"""How the value of an option becomes that of a setting, where it has another form there."""


def _launched(launch: Mapping[str, Any], read_: Read) -> Iterator[Item]:
    """The options of the launcher, which Easel does not use for this engine."""
    for name, value in launch.items():
        text, label = shown(value), f"launch {name}"
        if name == "mixed_precision" and name not in read_.given:
            found, problem = fields.check("memory.mixed_precision", value)
            yield Item(label, text, "refused" if problem else "setting", "memory.mixed_precision", found, problem)
        elif name == "mixed_precision":
            yield Item(label, text, "same", reason="the option of the program counts.")
        elif name in ONE_PROCESS or (name == "num_processes" and str(value) == "1"):
            yield Item(label, text, "same", reason="one process does not need the launcher.")
        elif name in ("num_processes", "multi_gpu"):
            yield Item(label, text, "refused", reason=SEVERAL)
        else:
            yield Item(label, text, "refused", reason="Easel starts this engine without the launcher.")
