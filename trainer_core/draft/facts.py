"""The facts of a draft: about the files, the machine and its engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trainer_core.engines.status import NOT_KNOWN, EngineStatus
from trainer_core.hardware import Machine

if TYPE_CHECKING:
    from trainer_core.datasets.clip import Merges
    from trainer_core.datasets.scan import Dataset
    from trainer_core.engines.hub import HubFacts
    from trainer_core.models.detection import Detection
    from trainer_core.models.library import Companions


@dataclass(frozen=True)
class PathFacts:
    """What was found at the path in a setting.

    `text` is the setting's value, `path` the absolute path. `leads_to` is the target of a symbolic link, "" if it is not one;
    `is_relative` says that the link's own text is a relative path. `is_elsewhere`: another machine trains, and this is its name for the file, of which nothing is known here. For a path that Easel writes to, `folder` is the nearest existing folder, itself or a parent; `is_writable` and
    `free_bytes` describe that folder.
    """

    text: str
    path: str
    exists: bool = False
    is_folder: bool = False
    leads_to: str = ""
    is_relative: bool = False
    is_elsewhere: bool = False
    folder: str = ""
    is_writable: bool = False
    free_bytes: int = 0


@dataclass(frozen=True)
class Facts:
    """What is known about the files and the machine. Not a layer: a value that contradicts a fact is a Problem."""

    machine: Machine
    detection: Detection | None = None
    dataset: Dataset | None = None
    detection_error: str = ""
    """The reason why the model could not be recognised, or ""."""
    parts: Mapping[str, Detection | str] = field(default_factory=dict)
    """The companion files, by the name of their setting; a text is the reason why a file could not be recognised."""
    companions: Companions | None = None
    """The companion files that the model needs and the library has; None if the library was not searched."""
    dataset_error: str = ""
    """The reason why the dataset could not be scanned, or ""."""
    clip: Merges | None = None
    """The vocabulary of CLIP's tokenizer, to count tokens exactly; None where it was not found."""
    paths: Mapping[str, PathFacts] = field(default_factory=dict)
    """By setting, for each path of a file or folder; "output.name" is the file of the result. Paths in native settings have
    their own names: "native.kohya.network_weights", and for a list with the index at the end, from 0."""
    hub: HubFacts | None = None
    """The files of the Hub that the engine needs and that are missing; None where it was not looked for them."""
    engines: Mapping[str, EngineStatus] = field(default_factory=dict)
    """By engine id."""

    def at(self, setting: str, text: str) -> PathFacts | None:
        """What was found at the path of a setting with this value; None if it was not looked up."""
        found = self.paths.get(setting)
        return found if found is not None and found.text == text else None

    def engine(self, name: str) -> EngineStatus:
        """The status of an engine on this machine; not known if it was not looked up."""
        return self.engines.get(name, NOT_KNOWN)


def zero_terminal_snr(family: str, detection: Detection | None) -> bool:
    """Whether a v-prediction model was trained with zero terminal SNR: from its file, else the default of the family.

    Source: Stable Diffusion 2.1 was trained without it; NoobAI and all published recipes for SDXL set both.
    """
    detected = detection.zero_terminal_snr if detection else None
    return family != "sd2" if detected is None else detected
