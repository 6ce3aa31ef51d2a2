"""What an engine would make of a dataset folder: what it trains, what it does not see, and what it stumbles over."""

from __future__ import annotations

import os
import re
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from trainer_core import places
from trainer_core.backend import DatasetRules
from trainer_core.datasets import captions, defects, pictures
from trainer_core.errors import DatasetError
from trainer_core.problems import Fix, Problem
from trainer_core.text import printable

# Endings under which people keep pictures, films and archives; a file with another one is none of the scan's business.
PICTURE_ENDINGS = frozenset({
    ".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jxl",
    ".psd", ".svg", ".ico", ".tga", ".exr", ".raw", ".dng", ".mp4", ".webm", ".mov", ".mkv", ".avi", ".zip", ".rar", ".7z",
    ".tar", ".gz",
})  # fmt: skip
CAPTION_ENDINGS = (".txt", ".caption", ".tags", ".cap")
MASK_ENDINGS = ("-masklabel", "_masklabel", "-mask", "_mask")
SKIPPED_FOLDERS = frozenset({"__pycache__", "__MACOSX"})
MOST_ENTRIES = 200_000
LONGEST_NAME = 200


@dataclass(frozen=True)
class Picture:
    """A picture that is trained. `name` is its path below the dataset, made printable; its size is upright.

    `caption` is the text of its caption file, None without one; `path` is the file, `orientation` how it is stored.
    """

    name: str
    width: int
    height: int
    caption: str | None
    caption_file: Path | None
    path: Path
    orientation: int = pictures.UPRIGHT
    is_deep_gray: bool = False


@dataclass(frozen=True)
class Dataset:
    """A scanned folder. `stopping` and `unseen` are pairs of a file's name and the reason; all names are printable."""

    root: Path
    pictures: tuple[Picture, ...]
    unseen: tuple[tuple[str, str], ...]
    problems: tuple[Problem, ...]
    stopping: tuple[tuple[str, str], ...] = ()
    caption_extension: str = ".txt"

    @property
    def summary(self) -> str:
        """One sentence: how many files there are, are trained, stop the run, and are not seen, with the reasons."""
        total = len(self.pictures) + len(self.stopping) + len(self.unseen)
        parts = [f"{len(self.pictures)} will be trained"]
        parts += [f"{len(self.stopping)} stop the run ({_reasons(self.stopping)})"] if self.stopping else []
        parts += [f"{len(self.unseen)} are not seen ({_reasons(self.unseen)})"] if self.unseen else []
        return f"{total} {'file' if total == 1 else 'files'} in the folder: {', '.join(parts)}."


@dataclass
class _Findings:
    """What a scan has found so far: file names by defect, and the files that drop out."""

    by_defect: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    unseen: list[tuple[str, str]] = field(default_factory=list)
    stopping: list[tuple[str, str]] = field(default_factory=list)

    def note(self, name: str, *keys: str) -> None:
        for key in keys:
            self.by_defect[key].append(name)

    def leave_out(self, name: str, key: str) -> None:
        self.note(name, key)
        self.unseen.append((name, defects.DEFECTS[key].reason))

    def stop_at(self, name: str, key: str) -> None:
        self.note(name, key)
        self.stopping.append((name, defects.DEFECTS[key].reason))


def scan(
    root: Path, rules: DatasetRules, caption_extension: str = ".txt", trigger: str = "", *, quick: bool = False
) -> Dataset:
    """What an engine with these rules makes of a folder; nothing in the folder is changed.

    `quick` reads picture headers only, so damage inside a picture is not seen.

    Raises:
        DatasetError: there is no such folder, it cannot be listed, or the caption extension is none.
    """
    root, found = Path(root), _Findings()
    if not re.fullmatch(r"\.[A-Za-z0-9_]{1,12}", caption_extension):
        raise DatasetError(f"{printable(caption_extension, 40)!r} is no ending of caption files.", "Usual is .txt.")
    files = _list(root)
    seen = [path for path in files if _is_seen(path, root, rules, found)]
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata; what matters comes back as a defect.
        looks = list(pool.map(lambda path: pictures.look(path, quick), seen))
    text_files = _TextFiles(files, caption_extension)
    trained = [
        picture
        for path, look in zip(seen, looks, strict=True)
        if (picture := _picture(path, root, look, text_files, rules, trigger, found)) is not None
    ]
    _compare(trained, text_files, root, rules, found)
    problems = [*_no_pictures(trained, found), *defects.problems(found.by_defect)]
    problems += _other_caption_ending(trained, files, caption_extension)
    problems.sort(key=lambda problem: ("error", "warning", "info").index(problem.severity))
    return Dataset(root, tuple(trained), tuple(found.unseen), tuple(problems), tuple(found.stopping), caption_extension)


def _list(root: Path) -> list[Path]:
    """Every entry below the folder but plain folders, in the order of their names; hidden folders are not entered."""
    if not places.is_folder(root):
        problem = "is not a folder" if os.path.lexists(root) else "does not exist"
        raise DatasetError(
            f"The dataset {printable(str(root))} {problem}.", "Choose the folder that holds the pictures."
        )
    found: list[Path] = []

    def failed(error: OSError) -> None:
        if Path(error.filename) == root:
            raise DatasetError(
                f"The dataset folder cannot be read: {error.strerror}.", "Check its permissions."
            ) from error

    for folder, folders, names in os.walk(root, onerror=failed):
        place = Path(folder)
        found += [place / name for name in folders if _ending(name) in PICTURE_ENDINGS]
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in SKIPPED_FOLDERS)
        found += [place / name for name in names]
        if len(found) > MOST_ENTRIES:
            raise DatasetError(
                f"The folder holds more than {MOST_ENTRIES} files.", "Choose the folder with the pictures."
            )
    return sorted(found)


def _is_seen(path: Path, root: Path, rules: DatasetRules, found: _Findings) -> bool:
    """Whether the engine sees a file as a picture; a picture that it does not see is noted with the reason."""
    ending = _ending(path.name)
    is_picture = ending in rules.extensions
    if not is_picture and ending not in PICTURE_ENDINGS:
        if not ending and pictures.starts_like_picture(path):
            found.leave_out(_name(path, root), "no_ending")
        return False
    written = path.suffix
    if path.name.startswith("."):
        key = "hidden"
    elif not is_picture:
        key = "ending"
    elif path.parent != root and not rules.recursive:
        key = "sub_folder"
    elif not rules.any_case and written not in (ending, ending.upper()):
        key = "case"
    else:
        return True
    found.leave_out(_name(path, root), key)
    return False


class _TextFiles:
    """The caption files of a folder, found by their picture even where case or Unicode form of the name differ."""

    def __init__(self, files: Sequence[Path], extension: str) -> None:
        self.extension = extension
        self.files = {path for path in files if _ending(path.name) == extension.lower()}
        self.by_folded = {_folded(path): path for path in self.files}
        self.used: set[Path] = set()

    def of(self, picture: Path) -> Path | None:
        """The caption file of a picture: named by its stem, or by its whole name."""
        for wanted in (picture.with_suffix(self.extension), picture.with_name(picture.name + self.extension)):
            file = wanted if wanted in self.files else self.by_folded.get(_folded(wanted))
            if file is not None:
                self.used.add(file)
                return file
        return None


def _picture(
    path: Path, root: Path, look: pictures.Look, texts: _TextFiles, rules: DatasetRules, trigger: str, found: _Findings
) -> Picture | None:
    """The picture as it will be trained; None for one that drops out, which is noted."""
    name, file = _name(path, root), texts.of(path)
    if key := next((key for key in look.defects if key in ("folder", "special")), None):
        found.leave_out(name, key)
        return None
    caption = captions.read(file, rules.caption_lines) if file else captions.Caption("", ("caption_missing",))
    if key := defects.stops(look.defects + caption.defects):
        found.stop_at(name, key)
        return None
    spoken = trigger.strip()
    for key in look.defects + caption.defects:
        stands_in = spoken and key in ("caption_missing", "caption_blank")
        found.note(name, f"{key}_trigger" if stands_in else key)
    if spoken and caption.text and spoken.casefold() not in caption.text.casefold():
        found.note(name, "no_trigger")
    text = caption.text if file else None
    return Picture(name, look.width, look.height, text, file, path, look.orientation, "deep_gray" in look.defects)


def _compare(trained: Sequence[Picture], texts: _TextFiles, root: Path, rules: DatasetRules, found: _Findings) -> None:
    """Notes what only shows when files are compared: masks, shared and borrowed captions, captions without picture."""
    stems: defaultdict[Path, list[str]] = defaultdict(list)
    for picture in trained:
        stems[picture.path.with_suffix("")].append(picture.name)
    for picture in trained:
        stem = picture.path.with_suffix("")
        if any(
            stem.name.endswith(end) and stem.with_name(stem.name.removesuffix(end)) in stems for end in MASK_ENDINGS
        ):
            found.note(picture.name, "mask")
        if len(stems[stem]) > 1 and picture.caption_file is not None:
            found.note(picture.name, "shared_caption")
        if rules.borrows_captions and picture.caption_file is None and _lender(stem, texts) is not None:
            found.note(picture.name, "borrowed")
    for file in sorted(texts.files - texts.used):
        if not file.name.startswith(".") and (file.parent == root or rules.recursive):
            found.note(_name(file, root), "orphan_caption")


def _lender(stem: Path, texts: _TextFiles) -> Path | None:
    """The caption file sd-scripts falls back to: the name without its last four parts between underscores.

    Source: library/train_util.py, read_caption.
    """
    parts = stem.name.split("_")
    lender = stem.with_name("_".join(parts[:-4]) + texts.extension) if len(parts) >= 5 and parts[0] else None
    return lender if lender in texts.files else None


def _no_pictures(trained: Sequence[Picture], found: _Findings) -> Iterator[Problem]:
    if not trained:
        rest = " None of the files in it can be trained." if found.unseen or found.stopping else ""
        message = f"No picture in the dataset folder can be trained.{rest} Put PNG, JPEG or WebP pictures into it."
        yield Problem("dataset.path", "error", message)


def _other_caption_ending(trained: Sequence[Picture], files: Sequence[Path], extension: str) -> Iterator[Problem]:
    """Caption files under another ending than the one asked for, where most pictures without a caption have one."""
    without = [picture for picture in trained if picture.caption_file is None]
    known = set(files)
    for other in CAPTION_ENDINGS:
        count = sum(picture.path.with_suffix(other) in known for picture in without) if other != extension else 0
        if count and count * 2 > len(without):
            message = (
                f"{count} pictures have a {other} file beside them, but captions are looked for in {extension} files."
            )
            fix = Fix(f"Read {other} files", {"dataset.caption_extension": other})
            yield Problem("dataset.caption_extension", "warning", message, fix)


def _reasons(pairs: Sequence[tuple[str, str]]) -> str:
    counts: dict[str, int] = defaultdict(int)
    for _, reason in pairs:
        counts[reason] += 1
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{count}: {reason}" for reason, count in counts.items())


def _ending(name: str) -> str:
    return PurePath(name).suffix.lower()


def _folded(path: Path) -> tuple[Path, str]:
    return path.parent, unicodedata.normalize("NFC", path.name).casefold()


def _name(path: Path, root: Path) -> str:
    return printable(path.relative_to(root).as_posix(), LONGEST_NAME)
