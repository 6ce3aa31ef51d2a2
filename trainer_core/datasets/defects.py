"""What can be wrong with the files of a dataset: how bad it is, what happens, and what to do.

An "error" stops the engine, a "warning" trains something that was not meant, an "info" is only to be known.
Source for what the engines do: their own dataset code (sd-scripts, SimpleTuner), run on a folder of each defect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer_core.problems import Problem, Severity

NAMED_FILES = 3
"""How many files of one defect are named; the rest are counted."""


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
        "warning", "the engine sees endings in all lower or all upper case only", "Rename, for example to .jpg."
    ),
    "no_ending": Defect("warning", "a picture without an ending is not seen", "Rename, for example to .jpg."),
    "hidden": Defect(
        "info", "the name begins with a dot, so it counts as hidden", "Rename it if it is meant to be trained."
    ),
    "sub_folder": Defect(
        "warning", "pictures in sub-folders are not read", "Move them up, or choose the sub-folder as the dataset."
    ),
    "folder": Defect("info", "it is a folder with the name of a picture", "Rename the folder."),
    "special": Defect("warning", "it is a pipe or a device, not a file", "Remove it."),
    # Seen, and the engine stops.
    "dead_link": Defect(
        "error", "it is a link to a file that is not there", "Remove the link, or bring the file back."
    ),
    "unreadable": Defect("error", "it may not be read, or the disk fails", "Check its permissions."),
    "empty": Defect("error", "it is empty", "Download it again, or remove it."),
    "html": Defect("error", "it is a web page, not a picture", "Download the picture itself, or remove it."),
    "lfs": Defect("error", "it is a Git LFS pointer, not the picture", "Fetch it with git lfs pull, or remove it."),
    "heic": Defect("error", "it is a HEIC picture under another ending", "Convert it to JPEG or PNG."),
    "jxl": Defect("error", "it is a JPEG XL picture under another ending", "Convert it to JPEG or PNG."),
    "damaged": Defect("error", "it is damaged or cut short", "Download it again, or remove it."),
    "bomb": Defect("error", "it is too large to open (over 178 megapixels)", "Make it smaller, or remove it."),
    "caption_not_utf8": Defect("error", "its caption is not UTF-8 text", "Save the caption file as UTF-8."),
    "caption_no_text": Defect("error", "its caption file cannot be read as text", "Replace the caption file."),
    # Trained, but perhaps not as meant.
    "alpha": Defect(
        "warning", "transparent parts are trained with the hidden colour behind them", "Flatten on a plain background."
    ),
    "transparent": Defect("warning", "it is fully transparent: hidden colours are trained", "Flatten or remove it."),
    "float_values": Defect("warning", "values in floating point come out black or white", "Convert to 8 bit."),
    "long_shape": Defect("warning", "longer than 3:1: much of it is cropped away", "Crop or split it."),
    "mask": Defect("warning", "it looks like a mask, and is trained as a picture", "Move masks to another folder."),
    "many_lines": Defect("warning", "only the first line of the caption is trained", "Join the lines into one."),
    "caption_missing": Defect("warning", "there is no caption", "Write one, or give a trigger word to stand in."),
    "caption_blank": Defect("warning", "the caption file is blank", "Fill it, or give a trigger word to stand in."),
    "no_trigger": Defect("warning", "the trigger word is not in the caption", "Add it where the subject is shown."),
    # Good to know.
    "caption_missing_trigger": Defect("info", "there is no caption: the trigger word stands in", ""),
    "caption_blank_trigger": Defect("info", "the caption file is blank: the trigger word stands in", ""),
    "borrowed": Defect(
        "info", "the engine on its own would lend it another picture's caption, for its name; Easel does not let it", ""
    ),
    "shared_caption": Defect("info", "pictures of one name with two endings share their caption", ""),
    "orphan_caption": Defect("info", "a caption file without a picture of its name", "Rename it like its picture."),
    "alpha_channel": Defect("info", "an alpha channel; the full check says whether anything is transparent", ""),
    "turned": Defect("info", "stored sideways or mirrored: trained upright, from a corrected copy", ""),
    "deep_gray": Defect("info", "16-bit gray: trained from a corrected 8-bit copy", ""),
    "cmyk": Defect("info", "print colours (CMYK) come out slightly off", "Convert to RGB for exact colours."),
    "animated": Defect("info", "animated: only the first frame is trained", ""),
    "huge": Defect(
        "info", "over 60 megapixels: slow to read, and not checked for damage", "A smaller copy trains as well."
    ),
    "small": Defect("info", "a side under 256 px: enlarged when the resolution is higher", ""),
    "many_captions": Defect("info", "each line of the caption is used as a caption of its own", ""),
    "caption_mark": Defect("info", "the caption begins with a byte order mark, which is left out", ""),
    "caption_utf16": Defect("info", "the caption is UTF-16 and is trained as UTF-8", ""),
    "caption_control": Defect("info", "the caption holds control characters, which are left out", ""),
}


def stops(keys: Sequence[str]) -> str | None:
    """The first of these defects that stops the engine."""
    return next((key for key in keys if DEFECTS[key].severity == "error"), None)


def problems(found: Mapping[str, Sequence[str]]) -> list[Problem]:
    """One Problem for each defect that has file names, in the order of the table."""
    return [
        Problem("dataset.path", defect.severity, f"{_files(found[key])}: {defect.reason}. {defect.advice}".strip())
        for key, defect in DEFECTS.items()
        if found.get(key)
    ]


def _files(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_FILES} more" if len(names) > NAMED_FILES else ""
    return f"{len(names)} {'file' if len(names) == 1 else 'files'} ({', '.join(names[:NAMED_FILES])}{more})"
