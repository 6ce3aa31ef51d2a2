"""What a setting declares besides its type, default, bounds and texts: its owner, when it applies, what depends on it.

A declaration in `sections` contains only what differs from the defaults:

    vae: Annotated[str, Field(title="VAE"), Setting(path="file", part=True, decides=("parts",))] = ""

A group of settings can be declared in the same way, in `TrainingPlan`; this applies to each setting of the group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

PathKind = Literal["", "file", "folder", "file or folder"]
Owner = Literal["", "recipe", "job", "person", "machine"]
ChoiceTable = Literal["", "methods", "algorithms", "optimizers", "schedulers"]
Decided = Literal["model", "parts", "dataset", "subject"]


@dataclass(frozen=True)
class Setting:
    """The declaration of one setting; an empty attribute means not declared."""

    # Its owner
    path: PathKind = ""
    """What its path refers to; empty: it is not a path."""
    written: bool = False
    """Whether Easel writes to that path. Easel only reads from other paths."""
    owner: Owner = ""
    """Who it belongs to. "recipe": profiles, presets and policies may contain it. "job": it belongs to one training. "person":
    shared only in a profile that is written by hand. "machine": depends on the GPU. Empty: "job" for free text, so that
    no path or name is shared by mistake; else "recipe"."""
    policy: Literal["", "value", "rule"] = ""
    """How a policy may set it: with a value, or with a rule that depends on the number of images. Empty: not at all."""
    card: bool = False
    """Whether a memory preset that sets it overrides a policy."""

    is_side: bool = False
    """Whether it is a side of an image in pixels, for which the native resolution of the model is recommended."""

    # When it applies
    methods: tuple[str, ...] = ()
    """The methods it applies to; empty: all."""
    predictions: tuple[str, ...] = ()
    """The prediction types it applies to, "" meaning unknown; empty: all."""
    claim: str = ""
    """The key in an engine's claim that says whether the engine supports it for a family."""
    part: bool = False
    """Whether it is the path of a companion file: the part of the same name in an engine's claim."""
    epochs: str = ""
    """The command line option that gives it in epochs; empty: it is not a number of training steps that is given so."""
    only_with: str = ""
    """The switch that must be on, the number that must be more than 0, or the text that must be set; empty: none."""
    replaces: str = ""
    """The setting that has no effect while this one is set; empty: none."""

    # What depends on it
    choices: ChoiceTable = ""
    """The table of its choices, of which an engine offers some. A catalogue entry decides which settings of the group are read."""
    decides: tuple[Decided, ...] = ()
    """What is read again when it changes; "subject": it identifies the subject, for which values are remembered."""

    done_by_easel: bool = False
    """Whether Easel applies it, before or after the engine runs, so that an engine need not read it."""

    # How it is shown
    said_by_model: bool = False
    """Whether it is detected from the model's file if it is empty."""
    empty: str = ""
    """What an empty text means."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """The titles of choices whose title differs from their value."""
    prompt: bool = False
    """Whether it is a prompt: a long text in which {trigger} is replaced by the trigger word."""
    option: str = ""
    """A short command line option, for settings that nearly every job sets."""
