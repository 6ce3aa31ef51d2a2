"""Walks the library's folders and decides which files and folders are one model each. No file is opened.

Symbolic links are followed. Each real file counts once and each real folder is entered once, so circular links end.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer_core.models.library.roots import Root
from trainer_core.text import printable

MOST_LEVELS = 12
MOST_NAMES = 500_000
MOST_MODELS = 20_000
MOST_NOTICES = 50

ENDINGS = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin")
INDEXES = (".safetensors.index.json", ".bin.index.json")
PIPELINE, COMPONENT = "model_index.json", "config.json"
RUN = {"spec.json", "versions.json"}
"""The files of a run folder, which is skipped: accepted results of a run are in Easel's output folder."""
LEFT_OUT = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})

# Source: huggingface_hub names shards `-00001-of-00003`; diffusers and transformers name the files of a component.
_SHARD = re.compile(r"(?P<stem>.+)-\d{5}-of-\d{5}(?P<ending>\.safetensors|\.bin)")
_STEM = r"(?P<stem>diffusion_pytorch_model|pytorch_model|model)(?P<variant>\.[A-Za-z0-9_]{1,20})?"
_WEIGHTS = re.compile(_STEM + r"(?:-\d{5}-of-\d{5})?\.(?P<ending>safetensors|bin)(?P<index>\.index\.json)?")
"""The weights of a component; folders often contain them again in half precision (the variant) or as a pickle."""


@dataclass(frozen=True)
class Candidate:
    """One model before its header is read. `stamp` changes when any of its files changes."""

    path: Path
    size_bytes: int
    modified_s: float
    stamp: str
    file: Path | None
    app: str


def walk(roots: Iterable[Root], is_cancelled: Callable[[], bool] = lambda: False) -> tuple[list[Candidate], list[str]]:
    """The models below the roots, by root and then by path, and notices about what was skipped."""
    walking = _Walk(is_cancelled)
    for root in roots:
        walking.root(root)
    return walking.found, walking.notices


class _Walk:
    def __init__(self, is_cancelled: Callable[[], bool]) -> None:
        self.found: list[Candidate] = []
        self.notices: list[str] = []
        self._is_cancelled = is_cancelled
        self._seen: set[tuple[int, int]] = set()
        self._names = 0
        self._is_full = False
        self._app = ""

    def root(self, root: Root) -> None:
        self._app = root.app
        waiting = [(root.path, 0)]
        while waiting and not self._is_full and not self._is_cancelled():
            folder, level = waiting.pop()
            if not self._is_new(folder):
                continue
            if level > MOST_LEVELS:
                self._notice(f"{_shown(folder)} is more than {MOST_LEVELS} folders deep, so it is skipped.")
                continue
            below = self._folder(folder)
            waiting += [(Path(each.path), level + 1) for each in reversed(below)]

    def _folder(self, folder: Path) -> list[os.DirEntry[str]]:
        """Notes the models of one folder and returns its subfolders that are to be searched."""
        listed = self._listed(folder)
        names = {each.name: each for each in listed}
        if names.keys() >= RUN:
            return []
        if PIPELINE in names:
            self._note(folder, self._pipeline_files(listed), None, is_pipeline=True)
            return []
        folders = [each for each in listed if _is_folder(each) and each.name not in LEFT_OUT]
        hidden = self._component(folder, names)
        sets: dict[str, list[os.DirEntry[str]]] = {
            name: [each] for name, each in names.items() if name.endswith(INDEXES)
        }
        for name in names.keys() - hidden:
            if (index := _set_of(name)) in sets:
                sets[index].append(names[name])
        for name in sorted(sets.keys() - hidden):
            self._note(Path(sets[name][0].path), sets[name], None)
            hidden |= {part.name for part in sets[name]}
        for name, each in names.items():
            if name not in hidden and name.lower().endswith(ENDINGS):
                self._note(Path(each.path), [each], Path(each.path))
        return folders

    def _component(self, folder: Path, names: dict[str, os.DirEntry[str]]) -> set[str]:
        """Notes a folder that is one component of a model; returns the names of its weight files, empty if it is none."""
        parts = {name: part for name in names if (part := _WEIGHTS.fullmatch(name))} if COMPONENT in names else {}
        weights = [name for name, part in parts.items() if part["ending"] == "safetensors"]
        if not weights:
            return set()
        plain = [name for name in weights if not parts[name]["variant"]] or weights
        is_one = len(plain) == 1 and not parts[plain[0]]["index"]
        self._note(folder, [names[name] for name in (COMPONENT, *weights)], folder / plain[0] if is_one else None)
        return set(parts)

    def _pipeline_files(self, listed: Sequence[os.DirEntry[str]]) -> list[os.DirEntry[str]]:
        inside = [each for folder in listed if _is_folder(folder) for each in self._listed(Path(folder.path))]
        return [each for each in (*listed, *inside) if each.name.endswith((".json", ".safetensors"))]

    def _note(
        self, path: Path, files: Sequence[os.DirEntry[str]], file: Path | None, *, is_pipeline: bool = False
    ) -> None:
        """Notes one model that consists of these files, unless another path already led to all its weights.

        A file inside a diffusers folder may also be a separate model through a link in another folder.
        """
        stats = []
        for each in files:
            try:
                about = each.stat()
            except (OSError, ValueError) as error:
                self._notice(f"{_shown(each.path)} cannot be read: {_cause(error)}.")
                continue
            if stat.S_ISREG(about.st_mode):
                stats.append((each.name, about))
        if not stats:
            return
        if not is_pipeline:
            weights = {(about.st_dev, about.st_ino) for name, about in stats if not name.endswith(".json")}
            if weights and weights <= self._seen:
                return
            self._seen |= weights
        if len(self.found) >= MOST_MODELS:
            self._is_full = True
            self._notice(f"There are more than {MOST_MODELS} models: the others are not listed.")
            return
        size = sum(about.st_size for _, about in stats)
        modified = max(about.st_mtime for _, about in stats)
        self.found.append(Candidate(path, size, modified, _stamp(stats), file, self._app))

    def _is_new(self, folder: Path) -> bool:
        try:
            about = folder.stat()
        except (OSError, ValueError) as error:
            self._notice(f"{_shown(folder)} cannot be read: {_cause(error)}.")
            return False
        identity = (about.st_dev, about.st_ino)
        is_new = identity not in self._seen
        self._seen.add(identity)
        return is_new

    def _listed(self, folder: Path) -> list[os.DirEntry[str]]:
        """The entries of a folder, sorted by name, without hidden ones."""
        try:
            with os.scandir(folder) as listing:
                listed = sorted((each for each in listing if not each.name.startswith(".")), key=lambda each: each.name)
        except (OSError, ValueError) as error:
            self._notice(f"{_shown(folder)} cannot be read: {_cause(error)}.")
            return []
        self._names += len(listed)
        if self._names > MOST_NAMES and not self._is_full:
            self._is_full = True
            self._notice(f"There are more than {MOST_NAMES} files: the search stopped at {_shown(folder)}.")
        return listed

    def _notice(self, text: str) -> None:
        if len(self.notices) < MOST_NOTICES and text not in self.notices:
            self.notices.append(text)


def _is_folder(each: os.DirEntry[str]) -> bool:
    try:
        return each.is_dir()
    except OSError:
        return False


def _set_of(name: str) -> str:
    """The name of the index that a shard belongs to; "" for any other file."""
    part = _SHARD.fullmatch(name)
    return f"{part['stem']}{part['ending']}.index.json" if part else ""


def _stamp(stats: Sequence[tuple[str, os.stat_result]]) -> str:
    marks = [f"{about.st_size}-{about.st_mtime_ns}-{about.st_ino}" for _, about in stats]
    if len(marks) == 1:
        return marks[0]
    whole = "\n".join(f"{name} {mark}" for (name, _), mark in zip(stats, marks, strict=True))
    return hashlib.blake2b(whole.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _shown(path: Path | str) -> str:
    return printable(str(path), 400)


def _cause(error: Exception) -> str:
    return printable(getattr(error, "strerror", None) or "its name is not valid", 200)
