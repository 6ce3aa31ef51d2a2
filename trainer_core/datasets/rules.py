"""How an engine reads a folder of images, declared in [dataset] of its backend.toml. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Effect = Literal["wildcards", "alpha", "weights", "words", "no_upscale"]
"""What a native setting changes: each line of a caption is a caption and {a|b} a choice; transparent parts are masked out;
weights in captions are read; its text is added to each caption; images are never enlarged, and the engine stops at one that
is smaller than a bucket step."""


@dataclass(frozen=True)
class DatasetRules:
    """How an engine reads a dataset folder, so that a scan can report which files it reads and skips, and which stop it.

    `extensions` are lower case with a dot. `any_case`: whether mixed-case endings are seen (sd-scripts sees only
    all-lower and ALL-UPPER). `caption_lines`: "first" line only, or "each" line is a caption of its own. `recursive`:
    whether sub-folders are read, and linked ones as well. `borrows_captions`: whether an image without a caption gets that
    of another name. `native`: the engine's own options that change this, which a plan can contain as native settings.

    The others are what such native settings changed: `reads_choices`, `reads_alpha`, `reads_weights`, `enlarges`, and
    `added`, the texts that are added to each caption.

    `buckets` is how aspect buckets are made: shapes from a list, or rounded shapes (datasets/buckets.py); "" means unknown.
    `bucket_options` maps native options that change them to their meaning: "least", "most" or "no_upscale"; "" means that Easel
    does not know the result. `short_batches` is what happens to a bucket with fewer images than an optimizer step takes:
    they are "trained" as a smaller batch, or the engine "stops"; "" means unknown. With the native options in `fills` it
    does not stop. `balances_class_images`: whether class images are used until they are as many as the images of the subject;
    otherwise each is used as often as its repeats.
    """

    extensions: frozenset[str]
    any_case: bool
    caption_lines: Literal["first", "each"]
    recursive: bool = False
    borrows_captions: bool = False
    buckets: Literal["", "listed", "rounded"] = ""
    bucket_options: Mapping[str, Literal["", "least", "most", "no_upscale"]] = field(default_factory=dict)
    short_batches: Literal["", "trained", "stops"] = ""
    fills: tuple[str, ...] = ()
    balances_class_images: bool = True
    native: Mapping[str, Effect] = field(default_factory=dict)
    reads_choices: bool = False
    reads_alpha: bool = False
    reads_weights: bool = False
    enlarges: bool = True
    added: tuple[str, ...] = ()

    def with_native(self, settings: Mapping[str, Any]) -> DatasetRules:
        """These rules with the native settings of a plan for this engine."""
        on = {effect for option, effect in self.native.items() if settings.get(option)}
        texts = [settings.get(option) for option, effect in self.native.items() if effect == "words"]
        return replace(
            self,
            caption_lines="each" if "wildcards" in on else self.caption_lines,
            reads_choices=self.reads_choices or "wildcards" in on,
            reads_alpha=self.reads_alpha or "alpha" in on,
            reads_weights=self.reads_weights or "weights" in on,
            enlarges=self.enlarges and "no_upscale" not in on,
            added=(*self.added, *(text for text in texts if isinstance(text, str) and text.strip())),
        )
