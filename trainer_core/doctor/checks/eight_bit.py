"""Whether bitsandbytes saves memory in the environment of each engine: shown by real steps, not by an import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainer_core.doctor.case import Case
from trainer_core.doctor.finding import Finding
from trainer_core.engines.manifest import BackendManifest
from trainer_core.install import trials
from trainer_core.text import printable, size

SMALL_TENSORS = "Weights with less than 4096 numbers keep a state in 32 bits, so a LoRA of a small rank saves less."
"""Source: bitsandbytes, optim/optimizer.py, min_8bit_size."""
INSTEAD = "Choose AdamW (its state takes 8 bytes for each trained number instead of 2), Adafactor or Lion."


def eight_bit(case: Case) -> Iterator[Finding]:
    """One finding for each installed engine."""
    for engine in case.engines:
        if engine.installed is not None:
            kept = trials.load(engine.installed, case.devices[0].name, engine.manifest.optimizers)["optimizers"]
            yield finding(engine.manifest, case.tried(engine.installed, "bitsandbytes"), kept)


def finding(manifest: BackendManifest, record: Mapping[str, Any], kept: Mapping[str, Mapping[str, Any]]) -> Finding:
    """The verdict of what was proved; `kept` are the records of the engine's optimizers, tried after its installation."""
    name, title = f"bitsandbytes.{manifest.id}", f"{manifest.title}, 8-bit optimizers of bitsandbytes"
    if failure := record.get("failure"):
        return Finding(
            name, title, "notice", printable(str(failure), 400), "They cannot be used.", INSTEAD, manifest.id
        )
    if record.get("absent"):
        return _absent(manifest, name, title, kept)
    version = printable(str(record.get("version", "")), 40)
    device = {"cpu": "the CPU", "cuda": "the GPU"}.get(record["device"], record["device"])
    about = f"bitsandbytes {version} on {device}" if version else f"bitsandbytes on {device}"
    library = (
        f"its native library is {printable(record['native'], 80)}"
        if record.get("native")
        else "it works without its native library, slowly"
    )
    if not record["ok"]:
        found = f"{about} does not work: {printable(record['reason'], 300)}"
        return Finding(
            name, title, "notice", found, "A run with one of them would fail or save nothing.", INSTEAD, manifest.id
        )
    part = record["bytes"] / record["full_bytes"]
    found = (
        f"{about} makes real steps with AdamW8bit: the state of {record['numbers'] / 1e6:.1f} million numbers takes "
        f"{size(record['bytes'])} instead of {size(record['full_bytes'])} ({part:.1%}); {library}."
    )
    if "allocated" in record:
        found += f" The GPU counts {size(record['allocated'])} instead of {size(record['full_allocated'])}."
    state = "good" if record.get("native") else "notice"
    return Finding(
        name, title, state, found, f"The state takes a quarter of the memory. {SMALL_TENSORS}", engine=manifest.id
    )


def _absent(manifest: BackendManifest, name: str, title: str, kept: Mapping[str, Mapping[str, Any]]) -> Finding:
    """An engine may have 8-bit optimizers of other packages."""
    others = [
        f"{own} ({spelled}, {_tried(kept.get(own))})"
        for own, spelled in manifest.optimizers.items()
        if own.lower().endswith("8bit")
    ]
    pinned = manifest.environment and "bitsandbytes==" in manifest.environment[0].lock.read_text("utf-8")
    if pinned:
        found, fix = "bitsandbytes is not installed, although the engine's pins contain it.", INSTEAD
        return Finding(name, title, "notice", found, "They cannot be used.", fix, manifest.id)
    means = f"It offers these of other packages: {', '.join(others)}." if others else "It offers none."
    return Finding(name, title, "good", "The engine does not use bitsandbytes.", means, engine=manifest.id)


def _tried(record: Mapping[str, Any] | None) -> str:
    """What a trial of an optimizer has shown."""
    if record is None:
        return "not tried yet"
    if not record.get("ok"):
        return "does not work here"
    counted = record.get("state_bytes_per_parameter")
    return f"works, {counted:.1f} bytes for each number" if isinstance(counted, int | float) else "works"
