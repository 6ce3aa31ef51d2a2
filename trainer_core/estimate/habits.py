"""What engines are known to do with memory and time, as data: engines.toml, or [estimate] in an engine's backend.toml."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from trainer_core.errors import EaselError
from trainer_core.estimate import models

if TYPE_CHECKING:
    from trainer_core.backend import BackendManifest


@dataclass(frozen=True)
class Habits:
    """What an engine does with memory and time; engines.toml says what each field means."""

    id: str
    layout: str = "original"
    trained_bytes: int = 4
    follows_precision: bool = False
    own_networks: tuple[str, ...] = ("lora",)
    lycoris_families: tuple[str, ...] = ()
    usual_target: str = "full"
    usual_targets: Mapping[str, str] = field(default_factory=dict)
    paired_swap: bool = False
    caches_captions: bool = False
    vae_in_32_bits: tuple[str, ...] = ()
    correction_bytes: int = 0
    start_s: tuple[float, float] = (15, 120)
    ram_runtime_gib: float = 1.0
    ram_bytes_unet: float = 3.0
    ram_bytes_transformer: float = 2.2
    whole_checkpoints: tuple[str, ...] = ("unet",)
    state_in_checkpoints: bool = False
    held_gib: tuple[float, float] = (0.4, 4.5)
    captions_on_cpu: str = ""
    eight_bit_files: tuple[str, ...] | None = None
    eight_bits_need_base: bool = False
    captions_in_8_bits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rehearses: bool = False
    is_known: bool = True


def habits(manifest: BackendManifest | None) -> Habits:
    """What an engine is known to do; cautious guesses for one that says nothing."""
    if manifest is None:
        return Habits("", is_known=False)
    table = manifest.tables.get("estimate") or _engines().get(manifest.id)
    if not isinstance(table, Mapping):
        return Habits(manifest.id, is_known=False)
    known = {each.name for each in fields(Habits)} - {"id", "is_known"}
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in table.items() if name in known
    }
    return Habits(manifest.id, **given)


@functools.cache
def _engines() -> Mapping[str, Any]:
    path = models.FOLDER / "engines.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EaselError(f"{path.name} of the estimate cannot be used: {error}", "Install Easel again.") from error
