"""The defects that files of a dataset can have: how severe each is, what happens, and what to do.

An "error" stops the engine. With a "warning" the engine may train something that the user did not intend. An "info" needs
no action. Source for what the engines do: their own dataset code (sd-scripts, SimpleTuner), run on a folder of each defect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer_core.problems import Fix, Problem, Severity

NAMED_FILES = 3
"""How many files with the same defect are named; the others are counted."""


@dataclass(frozen=True)
class Defect:
    """One kind of defect. `reason` completes "not seen because ..." or "stops the run because ..."."""

    severity: Severity
    reason: str
    advice: str


DEFECTS: Mapping[str, Defect] = {
    # Not seen: left out of the training.
    "ending": Defect("warning", "the engine does not read this kind of file", "Convert to PNG, JPEG or WebP."),
    "case": Defect(
        "warning", "the engine reads only extensions in all lower or all upper case", "Rename it, for example to .jpg."
    ),
    "no_ending": Defect("warning", "its name has no extension", "Rename it, for example to .jpg."),
    "hidden": Defect("info", "its name starts with a dot, so it is hidden", "Rename it if you want to train it."),
    "sub_folder": Defect(
        "warning", "images in sub-folders are not read", "Move them up, or choose the sub-folder as the dataset."
    ),
    "linked_folder": Defect(
        "warning", "it is a link to a folder, and this engine does not follow it", "Choose that folder as the dataset."
    ),
    "mask_left_out": Defect(
        "warning",
        "it is a mask for another image, so it is not trained",
        "To train with masks, choose their folder under Masks. Rename it to train it as an image.",
    ),
    "regularisation": Defect(
        "warning",
        "it is a regularisation image, so it is not trained as the subject",
        "To train with it, choose its folder under Class images. Rename the folder to train it like any other image.",
    ),
    "condition": Defect(
        "warning",
        "it describes another image, for example as a depth map, so it is not trained",
        "If a model that edits images is to be shown it, choose its folder as control images. Rename the folder to train it.",
    ),
    "subset": Defect(
        "warning",
        "the name of its folder sets other repeats or another word, and Easel trains only one such folder in a run",
        "Choose one of the folders as the dataset.",
    ),
    "sample": Defect("warning", "it is a sample from a training run, so it is not trained", "Rename it to train it."),
    "folder": Defect("info", "it is a folder with the name of an image", "Rename the folder."),
    "special": Defect("warning", "it is a pipe or a device, not a file", "Remove it."),
    # Seen, and the engine stops.
    "dead_link": Defect("error", "it is a link to a file that does not exist", "Remove the link, or restore the file."),
    "unreadable": Defect("error", "it cannot be read: no permission, or a disk error", "Check its permissions."),
    "empty": Defect("error", "it is empty", "Download it again, or remove it."),
    "html": Defect("error", "it is a web page, not an image", "Download the image itself, or remove it."),
    "lfs": Defect("error", "it is a Git LFS pointer, not the image", "Fetch it with git lfs pull, or remove it."),
    "heic": Defect("error", "it is a HEIC image with another extension", "Convert it to JPEG or PNG."),
    "jxl": Defect("error", "it is a JPEG XL image with another extension", "Convert it to JPEG or PNG."),
    "damaged": Defect("error", "it is damaged or cut short", "Download it again, or remove it."),
    "bomb": Defect("error", "it is too large to open (over 178 megapixels)", "Make it smaller, or remove it."),
    "caption_not_utf8": Defect("error", "its caption is not UTF-8 text", "Save the caption file as UTF-8."),
    "caption_no_text": Defect("error", "its caption file cannot be read as text", "Replace the caption file."),
    # Trained, but perhaps not as the user intends.
    "alpha": Defect(
        "warning",
        "transparent parts are trained with the hidden colour behind them",
        "Flatten it onto a plain background.",
    ),
    "transparent": Defect(
        "warning", "it is fully transparent: its hidden colours are trained", "Flatten or remove it."
    ),
    "float_values": Defect("warning", "its floating-point values become black or white", "Convert it to 8 bit."),
    "long_shape": Defect("warning", "it is longer than 3:1: much of it is cropped away", "Crop or split it."),
    "mask": Defect(
        "warning",
        "it has the name of a mask, but it has colours, so it is trained as an image",
        "Move it if it is a mask.",
    ),
    "many_lines": Defect("warning", "only the first line of the caption is trained", "Join the lines into one."),
    "caption_missing": Defect("warning", "there is no caption", "Write one, or set a trigger word to use instead."),
    "caption_missing_mixed": Defect(
        "warning",
        "there is no caption, although other images have one: the trigger word is used instead",
        "Write captions.",
    ),
    "caption_blank_mixed": Defect(
        "warning",
        "the caption file is blank, although other images have a caption: the trigger word is used instead",
        "Write captions.",
    ),
    "caption_blank": Defect(
        "warning", "the caption file is blank", "Write a caption, or set a trigger word to use instead."
    ),
    "no_trigger": Defect("warning", "the trigger word is not in the caption", "Add it where the subject is shown."),
    "caption_weights": Defect(
        "warning", "weights in the caption, such as (word:1.3), are trained as plain text", "Remove the weights."
    ),
    "caption_escapes": Defect(
        "warning", "backslashes before brackets in the caption are trained as plain text", "Remove the backslashes."
    ),
    "caption_choices": Defect(
        "warning", "choices in the caption, such as {red|blue}, are trained as plain text", "Write only one of them."
    ),
    # Need no action.
    "caption_missing_trigger": Defect("info", "there is no caption: the trigger word is used instead", ""),
    "caption_blank_trigger": Defect("info", "the caption file is blank: the trigger word is used instead", ""),
    "borrowed": Defect(
        "info", "the engine would use the caption of another image with a similar name; Easel prevents this", ""
    ),
    "shared_caption": Defect("info", "images with the same name and different extensions share one caption", ""),
    "orphan_caption": Defect("info", "no image has the name of this caption file", "Give it the name of its image."),
    "alpha_channel": Defect("info", "it has an alpha channel; the full check says whether anything is transparent", ""),
    "turned": Defect("info", "it is stored rotated or mirrored: a corrected, upright copy is trained", ""),
    "deep_gray": Defect("info", "it is 16-bit gray: a converted 8-bit copy is trained", ""),
    "colour_profile": Defect(
        "info", "it has a colour profile other than sRGB: a copy converted to sRGB is trained", ""
    ),
    "cmyk": Defect("info", "its print colours (CMYK) change slightly", "Convert it to RGB for exact colours."),
    "animated": Defect("info", "it is animated: only the first frame is trained", ""),
    "huge": Defect(
        "info",
        "it is over 60 megapixels: slow to read, and not checked for damage",
        "A smaller copy trains just as well.",
    ),
    "small": Defect("info", "one side is under 256 px: it is enlarged when the resolution is higher", ""),
    "many_captions": Defect("info", "each line of the caption file is used as a separate caption", ""),
    "caption_mark": Defect("info", "the caption starts with a byte order mark, which is left out", ""),
    "caption_utf16": Defect("info", "the caption is UTF-16 and is trained as UTF-8", ""),
    "caption_control": Defect("info", "the caption contains control characters, which are left out", ""),
}


def stops(keys: Sequence[str]) -> str | None:
    """The first of these defects that stops the engine; None when none does."""
    return next((key for key in keys if DEFECTS[key].severity == "error"), None)


def problems(
    found: Mapping[str, Sequence[str]], *, left_out: bool = False, fixes: Mapping[str, Fix] | None = None
) -> list[Problem]:
    """One Problem for each defect that was found, in the order of the table.

    `left_out`: whether files that would stop the engine are left out. The fix for such files turns this on.
    `fixes` are those of other defects, by key.
    """
    others = fixes or {}
    return [
        _problem(defect, found[key], left_out, others.get(key)) for key, defect in DEFECTS.items() if found.get(key)
    ]


def _problem(defect: Defect, names: Sequence[str], left_out: bool, fix: Fix | None) -> Problem:
    message = f"{_files(names)}: {defect.reason}. "
    if defect.severity != "error":
        return Problem("dataset.path", defect.severity, f"{message}{defect.advice}".strip(), fix)
    if left_out:
        return Problem(
            "dataset.path",
            "warning",
            f"{message}It is left out." if len(names) == 1 else f"{message}They are left out.",
        )
    fix = Fix("Leave it out" if len(names) == 1 else "Leave them out", {"dataset.skip_unreadable": True})
    return Problem("dataset.path", "error", f"{message}{defect.advice}".strip(), fix)


def _files(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_FILES} more" if len(names) > NAMED_FILES else ""
    return f"{len(names)} {'file' if len(names) == 1 else 'files'} ({', '.join(names[:NAMED_FILES])}{more})"
