"""What an engine loads from the Hugging Face Hub by name when it starts: `hub.toml` beside its backend.toml. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reach = Literal["yes", "no", "off", "unknown"]
"""Whether the Hub can be reached; "off": the user has switched it off."""


@dataclass(frozen=True, kw_only=True)
class HubFiles:
    """The small files of one repository, such as a tokenizer, that an engine loads when it starts.

    `title` names them in a sentence, `of` is their folder in the repository, and `files` are those without which they cannot be
    used. `place` is where the engine looks: in Easel's folder of tokenizers and then in the cache of the Hub, or only there.
    `revision` is the pinned commit. `made` says how Easel makes the files without the Hub: "clip" from the vocabulary that
    open_clip ships, with `padding` as the token for short captions; "t5" from `source`, a file of the engine's own sources
    with the hash `sha256`. `gated`: the Hub gives them only to users who have accepted a licence. `single_file`: only
    a model that is a single file needs them. `bytes` is their size.
    """

    id: str
    title: str
    revision: str
    files: tuple[str, ...]
    bytes: int
    of: str = ""
    place: Literal["tokenizers", "hub"] = "tokenizers"
    made: Literal["", "clip", "t5"] = ""
    padding: str = ""
    source: str = ""
    sha256: str = ""
    more: tuple[str, ...] = ()
    """More files, which are fetched if the repository has them."""
    gated: bool = False
    single_file: bool = False

    @property
    def folder_name(self) -> str:
        """The name of their folder among the tokenizers. Source: sd-scripts, library/strategy_base.py, _load_tokenizer."""
        return self.id.replace("/", "_")


@dataclass(frozen=True)
class HubFacts:
    """Which files of the Hub an engine needs for a job and does not find on this machine, and whether the Hub can be reached.

    `obtainable` says whether Easel can make all of them without the Hub.
    """

    missing: tuple[HubFiles, ...] = ()
    reach: Reach = "unknown"
    obtainable: bool = False
