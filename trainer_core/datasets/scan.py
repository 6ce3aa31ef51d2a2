"""Scans a dataset folder: which files an engine trains, which it does not see, and which stop it."""

from __future__ import annotations

import os
import re
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from trainer_core.datasets import caption_text, captions, defects, images, listing, sub_folders
from trainer_core.datasets.folders import Repeats
from trainer_core.datasets.listing import Listing, Purposes, ending
from trainer_core.datasets.rules import DatasetRules
from trainer_core.errors import DatasetError
from trainer_core.problems import Fix, Problem
from trainer_core.text import printable

CAPTION_ENDINGS = (".txt", ".caption", ".tags", ".cap")
CAPTION_TABLES = frozenset({
    "metadata.jsonl", "metadata.csv", "metadata.parquet", "metadata.json", "captions.jsonl", "captions.json", "captions.csv",
    "captions.txt", "caption.json", "meta_cap.json", "meta_cap_dd.json", "meta_clean.json", "meta_lat.json", "dataset.json",
})  # fmt: skip
"""Files that hold the captions of all images, in lower case. Source: documentation of Hugging Face datasets (ImageFolder), and of sd-scripts' finetune tools."""
LONGEST_PATH = 4096
"""More characters than a path has on any system."""


@dataclass(frozen=True)
class DatasetImage:
    """An image that is trained. `name` is its printable path inside the dataset, which no other image has; width and height are upright.

    `caption` is the text of its caption file, None without one; `orientation` is its EXIF orientation.
    `has_profile`: whether it has a colour profile that differs visibly from sRGB. `has_alpha`: whether a part of it is
    transparent, or may be, where only its header was read.
    """

    name: str
    width: int
    height: int
    caption: str | None
    caption_file: Path | None
    path: Path
    orientation: int = images.UPRIGHT
    is_deep_gray: bool = False
    has_profile: bool = False
    has_alpha: bool = False


@dataclass(frozen=True)
class Dataset:
    """A scanned folder. `stopping` and `unseen` are pairs of a file name and the reason; all names are printable.

    `repeats` are the repeats and word in a folder name of kohya's layout, `added` the texts that the engine adds to captions.
    """

    root: Path
    images: tuple[DatasetImage, ...]
    unseen: tuple[tuple[str, str], ...]
    problems: tuple[Problem, ...]
    stopping: tuple[tuple[str, str], ...] = ()
    caption_extension: str = ".txt"
    repeats: Repeats | None = None
    added: tuple[str, ...] = ()
    defects: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    """The files with each defect, by its key in `defects.DEFECTS`."""
    class_images: Dataset | None = None
    """The class images that are trained beside these; None without."""
    class_error: str = ""
    """The reason why the folder of class images could not be scanned, or ""."""
    more: Mapping[str, Dataset | str] = field(default_factory=dict)
    """The further image folders by their name in a run (`plan.subsets.ImageFolder`); a text is why one could not be scanned."""
    asked: Mapping[str, object] = field(default_factory=dict)
    """By the same name, what a further folder was read with: another value than that of the plan means that it is not read yet."""
    masks: Mapping[str, Path] = field(default_factory=dict)
    """The mask of each image that has one, by the name of the image."""
    controls: tuple[Mapping[str, DatasetImage], ...] = ()
    """The control image of each image by its name, for each folder of control images; see `pairs`."""
    unpaired: tuple[str, ...] = ()
    """The images without a control image, and `unused` the control images without an image."""
    unused: tuple[str, ...] = ()
    validation: Dataset | None = None
    """The images that are held out of the training; None without."""
    selected: int = 0
    """How many images the selection names; 0 without one."""
    gone: tuple[str, ...] = ()
    """The images of the selection that are not in the folder."""
    selections: Mapping[str, int] = field(default_factory=dict)
    """How many images each selection of the folder names, by its name."""

    @property
    def folders(self) -> dict[str, Dataset]:
        """The scanned image folders by their name in a run, this one first."""
        found = {"dataset": self, "class_images": self.class_images, **self.more}
        return {name: each for name, each in found.items() if isinstance(each, Dataset)}

    @property
    def more_sizes(self) -> dict[str, list[tuple[int, int]]]:
        """The sizes of the images of the further folders, by the name of the folder."""
        return {name: each.sizes for name, each in self.more.items() if isinstance(each, Dataset)}

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """The width and height of each image in pixels."""
        return [(image.width, image.height) for image in self.images]

    @property
    def class_sizes(self) -> list[tuple[int, int]]:
        """The same of each class image."""
        return self.class_images.sizes if self.class_images is not None else []

    @property
    def summary(self) -> str:
        """One sentence with the numbers of files in total, trained, held out, stopping the run, and not seen, and the reasons."""
        held_out = len(self.validation.images) if self.validation is not None else 0
        total = len(self.images) + held_out + len(self.stopping) + len(self.unseen)
        parts = [f"{len(self.images)} will be trained", *([f"{held_out} held out"] if held_out else [])]
        parts += (
            [
                f"{len(self.stopping)} {'stops' if len(self.stopping) == 1 else 'stop'} the run ({_reasons(self.stopping)})"
            ]
            if self.stopping
            else []
        )
        parts += (
            [f"{len(self.unseen)} {'is' if len(self.unseen) == 1 else 'are'} not seen ({_reasons(self.unseen)})"]
            if self.unseen
            else []
        )
        return f"{total} {'file' if total == 1 else 'files'} in the folder: {', '.join(parts)}."


@dataclass
class _Findings:
    """What a scan has found so far: files by defect, and the files that are not trained."""

    root: Path
    skip_unreadable: bool = False
    by_defect: defaultdict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    unseen: list[tuple[str, str]] = field(default_factory=list)
    stopping: list[tuple[str, str]] = field(default_factory=list)

    def note(self, path: Path, *keys: str) -> None:
        for key in keys:
            self.by_defect[key].append(path)

    def names(self) -> dict[str, list[str]]:
        return {key: [sub_folders.name(path, self.root) for path in paths] for key, paths in self.by_defect.items()}

    def leave_out(self, path: Path, key: str) -> None:
        self.note(path, key)
        self.unseen.append((sub_folders.name(path, self.root), defects.DEFECTS[key].reason))

    def stop_at(self, path: Path, key: str) -> None:
        if self.skip_unreadable:
            self.leave_out(path, key)
            return
        self.note(path, key)
        self.stopping.append((sub_folders.name(path, self.root), defects.DEFECTS[key].reason))


def scan(
    root: Path,
    rules: DatasetRules,
    caption_extension: str = ".txt",
    trigger: str | None = "",
    *,
    quick: bool = False,
    skip_unreadable: bool = False,
    inspect: Callable[[Path, bool], images.ImageInfo] = images.inspect,
    only: frozenset[str] | None = None,
    apart: Collection[Path] = (),
) -> Dataset:
    """The images that an engine with these rules trains from a folder, and the problems. The folder is not changed.

    `trigger` is None for class images: they have no trigger word, and a caption for all that have none.
    `quick` reads only image headers, so it does not find damage inside an image. `skip_unreadable` leaves out the files
    that would stop the engine. `only` are the images of a selection, as paths in the folder with "/"; all others are as if
    they were not there, and so is what is in the folders `apart`. `inspect` reads an image file, if not `images.inspect` does.

    Raises:
        DatasetError: there is no such folder, it cannot be listed, or the caption extension is not valid.
    """
    root = Path(root)
    if not re.fullmatch(r"\.[A-Za-z0-9_]{1,12}", caption_extension):
        raise DatasetError(f"{printable(caption_extension, 40)!r} is not a file extension.", "The usual one is .txt.")
    found = _Findings(root, skip_unreadable)
    listed = listing.outside(listing.list_files(root, follows_links=rules.recursive), root, apart)
    text_files = _TextFiles(listed.files, caption_extension)
    gone: tuple[str, ...] = ()
    if only is not None:
        gone = tuple(sorted(only - {path.relative_to(root).as_posix() for path in listed.files}))
        listed = listing.chosen(listed, root, only)
    candidates, purposes = _candidates(listed, rules, text_files, found)
    seen = [path for path in candidates if _is_trained(path, purposes, rules, found)]
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")  # Pillow warns about odd metadata; `inspect` returns what matters as a defect.
        infos = list(pool.map(lambda path: inspect(path, quick), seen))
    trained = [
        image
        for path, info in zip(seen, infos, strict=True)
        if (image := _image(path, info, text_files, rules, found)) is not None
    ]
    _compare(trained, text_files, rules, trigger if trigger is None else trigger.strip(), found)
    # Without a single image to train, the Problem that says so has the fix.
    fixes = sub_folders.fixes(purposes, root) if trained else {}
    left_out = bool(found.unseen or found.stopping)
    problems = [
        *(() if trained else sub_folders.no_images(purposes, root, left_out=left_out, stops=bool(found.stopping))),
        *defects.problems(found.names(), left_out=skip_unreadable, fixes=fixes),
    ]
    problems += _other_caption_ending(trained, listed.files, caption_extension)
    problems += _captions_elsewhere(trained, listed.files, caption_extension)
    if trained:
        problems += sub_folders.trained(purposes, rules, root)
    problems.sort(key=lambda problem: ("error", "warning", "info").index(problem.severity))
    return Dataset(
        root,
        tuple(trained),
        tuple(found.unseen),
        tuple(problems),
        tuple(found.stopping),
        caption_extension,
        purposes.repeats,
        rules.added,
        {key: tuple(paths) for key, paths in found.by_defect.items()},
        selected=len(only or ()),
        gone=gone,
    )


def _candidates(
    listed: Listing, rules: DatasetRules, texts: _TextFiles, found: _Findings
) -> tuple[list[Path], Purposes]:
    """The files that an engine reads as images if it reads their folder, and their purposes."""
    candidates = []
    for path in listed.files:
        key = listing.unseen_key(path, rules)
        if key:
            found.leave_out(path, key)
        elif key is not None:
            candidates.append(path)
    for path in listed.linked:
        found.leave_out(path, "linked_folder")
    return candidates, listing.purposes(candidates, found.root, lambda path: texts.of(path) is not None)


def _is_trained(path: Path, purposes: Purposes, rules: DatasetRules, found: _Findings) -> bool:
    """Whether an image is to be trained and its folder is read; otherwise the reason is noted."""
    key = purposes.keys.get(path, "")
    is_outside = path.parent != found.root and not rules.recursive
    if key == "mask":  # Only its name is that of a mask: it has colours.
        if not is_outside:
            found.note(path, key)
            return True
        key = "mask_left_out"
    if key or is_outside:
        found.leave_out(path, key or "sub_folder")
        return False
    return True


class _TextFiles:
    """The caption files of a folder. An image finds its caption even where case or Unicode form of the names differ."""

    def __init__(self, files: Sequence[Path], extension: str) -> None:
        self.extension = extension
        self.files = {path for path in files if ending(path.name) == extension.lower()}
        self.by_folded = {_folded(path): path for path in self.files}
        self.used: set[Path] = set()

    def of(self, image: Path) -> Path | None:
        """The caption file of an image: named like its stem, or like its whole name; None without one."""
        for wanted in (image.with_suffix(self.extension), image.with_name(image.name + self.extension)):
            file = wanted if wanted in self.files else self.by_folded.get(_folded(wanted))
            if file is not None:
                self.used.add(file)
                return file
        return None


def _image(
    path: Path, info: images.ImageInfo, texts: _TextFiles, rules: DatasetRules, found: _Findings
) -> DatasetImage | None:
    """The image that will be trained; None for one that is not trained, which is noted."""
    # Not cut: masks and control images are found by it, and long names often differ only at their ends.
    name, file = printable(path.relative_to(found.root).as_posix(), LONGEST_PATH), texts.of(path)
    if key := next((key for key in info.defects if key in ("folder", "special")), None):
        found.leave_out(path, key)
        return None
    caption = captions.read(file, rules.caption_lines) if file else captions.Caption("")
    if key := defects.stops(info.defects + caption.defects):
        found.stop_at(path, key)
        return None
    is_meant = {"alpha": rules.reads_alpha, "alpha_channel": rules.reads_alpha, "small": not rules.enlarges}
    shown = [key for key in info.defects if not is_meant.get(key)]
    found.note(path, *shown, *(key for key in caption.defects if key != "caption_blank"))
    literal = {
        "caption_weights": caption_text.has_weights(caption.text) and not rules.reads_weights,
        "caption_escapes": caption_text.has_escapes(caption.text) and not rules.reads_weights,
        "caption_choices": caption_text.has_choices(caption.text) and not rules.reads_choices,
    }
    found.note(path, *(key for key, there in literal.items() if there))
    return DatasetImage(
        name,
        info.width,
        info.height,
        caption.text if file else None,
        file,
        path,
        info.orientation,
        "deep_gray" in info.defects,
        "colour_profile" in info.defects,
        not {"alpha", "alpha_channel"}.isdisjoint(info.defects),
    )


def _compare(
    trained: Sequence[DatasetImage], texts: _TextFiles, rules: DatasetRules, trigger: str | None, found: _Findings
) -> None:
    """Notes the defects that need a comparison of files: missing, shared and borrowed captions, captions without image."""
    stems: defaultdict[Path, list[str]] = defaultdict(list)
    for image in trained:
        stems[image.path.with_suffix("")].append(image.name)
    stand_in = "" if not trigger else "_mixed" if any(image.caption for image in trained) else "_trigger"
    for image in trained:
        stem = image.path.with_suffix("")
        if not image.caption and trigger is not None:
            found.note(image.path, f"{'caption_missing' if image.caption is None else 'caption_blank'}{stand_in}")
        elif image.caption and trigger and not caption_text.has_trigger(image.caption, trigger, rules.added):
            found.note(image.path, "no_trigger")
        if len(stems[stem]) > 1 and image.caption_file is not None:
            found.note(image.path, "shared_caption")
        if rules.borrows_captions and image.caption_file is None and _lender(stem, texts) is not None:
            found.note(image.path, "borrowed")
    for file in sorted(texts.files - texts.used):
        if not file.name.startswith(".") and (file.parent == found.root or rules.recursive):
            found.note(file, "orphan_caption")


def _lender(stem: Path, texts: _TextFiles) -> Path | None:
    """The caption file that sd-scripts falls back to: the name without its last four parts between underscores.

    Source: library/train_util.py, read_caption.
    """
    parts = stem.name.split("_")
    lender = stem.with_name("_".join(parts[:-4]) + texts.extension) if len(parts) >= 5 and parts[0] else None
    return lender if lender in texts.files else None


def _other_caption_ending(trained: Sequence[DatasetImage], files: Sequence[Path], extension: str) -> Iterator[Problem]:
    """A Problem for caption files with another extension, where most images without a caption have such a file."""
    without = [image for image in trained if image.caption_file is None]
    known = set(files)
    for other in CAPTION_ENDINGS:
        count = sum(image.path.with_suffix(other) in known for image in without) if other != extension else 0
        if count and count * 2 > len(without):
            message = f"{sub_folders.counted(count)} {'has' if count == 1 else 'have'} a {other} file with the same name, but captions are read from {extension} files."
            fix = Fix(f"Read {other} files", {"dataset.caption_extension": other})
            yield Problem("dataset.caption_extension", "warning", message, fix)


def _captions_elsewhere(trained: Sequence[DatasetImage], files: Sequence[Path], extension: str) -> Iterator[Problem]:
    """A Problem for files that may contain captions in a form that Easel does not read, if images have no caption."""
    without = [image for image in trained if not image.caption]
    if not without:
        return
    known = set(files)
    each = sum(not known.isdisjoint(_json_files(image.path)) for image in without)
    tables = sorted({path.name for path in files if path.name.lower() in CAPTION_TABLES})
    here = [*([f"{each} .json {'file' if each == 1 else 'files'} next to images"] if each else []), *tables]
    if here:
        names = ", ".join(printable(name, sub_folders.LONGEST_NAME) for name in here[: sub_folders.MOST_NAMED])
        message = f"{sub_folders.counted(len(without))} without a caption. These files may contain captions, but Easel does not read them: {names}."
        hint = f"Easel reads the caption of an image from the {extension} file with the same name."
        yield Problem("dataset.path", "warning", f"{message} {hint}")


def _json_files(image: Path) -> tuple[Path, Path]:
    return image.with_suffix(".json"), image.with_name(f"{image.name}.json")


def _reasons(pairs: Sequence[tuple[str, str]]) -> str:
    counts: dict[str, int] = defaultdict(int)
    for _, reason in pairs:
        counts[reason] += 1
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{count}: {reason}" for reason, count in counts.items())


def _folded(path: Path) -> tuple[Path, str]:
    return path.parent, unicodedata.normalize("NFC", path.name).casefold()
