"""The types of `translation.toml`, which maps values of a plan to the names of sd-scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer_core.errors import BackendError
from trainer_core.files import from_table, read_toml

FILE = Path(__file__).with_name("translation.toml")


@dataclass(frozen=True)
class Algorithm:
    """An algorithm: its module, the arguments that select it there, and the layer preset it needs, if any.

    `eight_bits` says whether it works with a base model in 8 bits: "yes"; "unscaled": only if the format has no scales; "later":
    only if the engine converts the model to 8 bits after it created the network; "bypass": only with bypass_mode; "no".
    """

    module: str
    arguments: tuple[str, ...] = ()
    layers: str = ""
    eight_bits: Literal["yes", "unscaled", "later", "bypass", "no"] = "bypass"


@dataclass(frozen=True)
class Argument:
    """An argument of a network module: its form, and the families and algorithms that it works with (None: all).

    `form` is a key of network_arguments.FORMS, or the allowed words. `families` maps to a number of blocks if the form
    needs one.
    """

    form: str | tuple[str, ...]
    families: Mapping[str, int] | tuple[str, ...] | None = None
    algorithms: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Translation:
    """The tables of `translation.toml`; its comments say what each is for."""

    warms_up_itself: tuple[str, ...]
    not_in_fp16: tuple[str, ...]
    optimizer_settings: Mapping[str, str]
    optimizer_refused: Mapping[str, str]
    scheduler_arguments: Mapping[str, tuple[str, ...]]
    scheduler_argument_help: Mapping[str, str]
    algorithms: Mapping[str, Algorithm]
    network_settings: Mapping[str, str]
    network_arguments: Mapping[str, Mapping[str, Argument]]
    network_argument_help: Mapping[str, str]
    layers: Mapping[str, Mapping[str, Any]]
    targets: Mapping[str, str]


TRANSLATION = from_table(Translation, read_toml(FILE, BackendError), str(FILE), BackendError)
