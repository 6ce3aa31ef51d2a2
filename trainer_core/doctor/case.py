"""What the checks look at: a machine, the engines, and what was tried with them."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from trainer_core import hardware, places
from trainer_core.doctor import trying
from trainer_core.engines import registry
from trainer_core.engines.manifest import BackendManifest
from trainer_core.hardware import Accelerator
from trainer_core.install import installed
from trainer_core.install.hub_files import hub_cache
from trainer_core.install.installed import InstalledEngine
from trainer_core.probe import HERE, Probe


@dataclass(frozen=True)
class Engine:
    """An engine that Easel knows, and its installation here if there is one."""

    manifest: BackendManifest
    installed: InstalledEngine | None

    @property
    def is_usable(self) -> bool:
        """Whether it is there; one that needs no installation always is."""
        return self.installed is not None or not self.manifest.needs_installation


@dataclass(frozen=True)
class Case:
    """A machine and its engines. With `again`, what was tried before is tried again."""

    probe: Probe = HERE
    again: bool = False
    report: trying.Report = field(default=lambda _: None)

    @cached_property
    def devices(self) -> tuple[Accelerator, ...]:
        """The devices of the machine, the CPU last."""
        return hardware.accelerators(self.probe)

    @property
    def gpus(self) -> tuple[Accelerator, ...]:
        """The GPUs of the machine."""
        return tuple(each for each in self.devices if each.kind != "cpu")

    @cached_property
    def engines(self) -> tuple[Engine, ...]:
        """The engines that Easel offers."""
        return tuple(
            Engine(backend.manifest, installed.installed(backend.manifest.id)) for backend in registry.available()
        )

    @cached_property
    def folders(self) -> Mapping[str, Path]:
        """The folders that Easel and its engines write to, by what is in them."""
        data = {
            "Easel's files": places.home(),
            "engines": places.engines(),
            "the cache of the Hugging Face Hub": hub_cache(),
            "temporary files": Path(tempfile.gettempdir()),
        }
        return self.probe.fact("folders", lambda: data)

    def tried(self, engine: InstalledEngine, what: str) -> Mapping[str, Any]:
        """What was found when something was tried with the engine's own Python on this machine."""
        if self.probe.recorded is not None:
            return self.probe.recorded["tried"][engine.id][what]
        return trying.result(engine, what, self.depends, self.report, again=self.again)

    @cached_property
    def depends(self) -> Mapping[str, Any]:
        """What a result of trying depends on, besides the engine: the driver (for AMD, of the kernel), the GPUs, the CPU."""
        return {
            "devices": [[each.kind, each.name, each.architecture, each.driver] for each in self.devices],
            "ids": [sorted(hardware.nvidia_ids(self.probe).values()), hardware.amd_ids(self.probe)],
            "kernel": [self.probe.text("proc/sys/kernel/osrelease"), self.probe.text("sys/module/amdgpu/version")],
            "cpu": cpu_model(self.probe),
            "visible": [self.probe.environment.get(name, "") for name in trying.VISIBLE],
        }


def cpu_model(probe: Probe) -> str:
    """The name of the processor; that of its kind if the system does not tell it."""
    lines = (line.partition(":") for line in probe.text("proc/cpuinfo").splitlines())
    named = next((value.strip() for name, _, value in lines if name.strip() == "model name"), "")
    return named or probe.fact("cpu", lambda: platform.processor() or platform.machine()) or "unknown"
