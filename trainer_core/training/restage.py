"""Fills the folder of a run that continues another one: its images, captions, caches and the state, from the other folder."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from trainer_core import places
from trainer_core.datasets.stage import ALWAYS_WRITTEN
from trainer_core.engines.continuation import Continuation
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.seam import ArtefactPattern, StatePattern
from trainer_core.errors import RunError
from trainer_core.jobs.seal import SealError
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.subsets import FIRST
from trainer_core.training import artefacts, states
from trainer_core.training.folder import RunFolder
from trainer_core.training.states import SavedState


def gone(folder: RunFolder, manifest: BackendManifest) -> list[str]:
    """The staged images whose original is no longer there, by the paths that the user gave."""
    return [_given(path) for path in _images(folder, manifest) if not path.is_file()]


def changed(folder: RunFolder, manifest: BackendManifest) -> list[str]:
    """As `gone`, those whose original was written after it was staged. A copy is the run's own and does not change."""
    return [
        _given(path)
        for path in _images(folder, manifest)
        if path.is_symlink() and path.is_file() and path.stat().st_mtime > path.lstat().st_mtime
    ]


def dataset(before: RunFolder, after: RunFolder, manifest: BackendManifest, plan: TrainingPlan) -> dict[str, str]:
    """Stages the images of one run in another, with the same names and captions; returns the captions as `Place` has them.

    The class images, the masks and the control images are staged, too.

    Raises:
        OSError: a file cannot be written.
    """
    caption_extensions = {folder.caption_extension for folder in plan.folders}
    others = {folder.name for folder in plan.folders if folder.setting != FIRST and not folder.is_regularisation}
    captions: dict[str, str] = {}
    for folder in before.staged:
        texts = _staged_again(folder, after.path / folder.name, manifest, caption_extensions)
        if folder == before.dataset:
            captions |= texts
        elif folder.name in others:
            captions |= {f"{folder.name}/{name}": text for name, text in texts.items()}
    beside = {path for each in plan.folders for path in (each.masks_name, each.validation_name, *each.controls_names)}
    for path in sorted(before.path / name for name in beside):
        if path.is_dir() and not path.is_symlink():
            _staged_again(path, after.path / path.name, manifest, caption_extensions)
    return captions


def _staged_again(
    before: Path, after: Path, manifest: BackendManifest, caption_extensions: Collection[str]
) -> dict[str, str]:
    """Stages the images of one staged folder in another one, and returns the captions by file name."""
    after.mkdir()
    captions = {}
    for image in _images_in(before, manifest):
        target = after / image.name
        if image.is_symlink():
            target.symlink_to(image.readlink())
            # When it was staged first is what tells whether the original has changed since.
            os.utime(target, ns=(image.lstat().st_atime_ns, image.lstat().st_mtime_ns), follow_symlinks=False)
        else:
            _link(image, target)
        for ending in {ALWAYS_WRITTEN, *caption_extensions}:
            text = image.with_suffix(ending)
            if text.is_file() and not text.is_symlink():
                shutil.copyfile(text, after / text.name)
                captions[image.name] = text.read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n")
    return captions


def caches(before: RunFolder, after: RunFolder, continuation: Continuation) -> None:
    """Links the caches that the engine can use again, so that nothing is cached twice.

    Raises:
        OSError: a file cannot be written.
    """
    for pattern in continuation.caches:
        for file in before.path.glob(pattern):
            if file.is_file() and not file.is_symlink():
                _link(file, after.path / file.relative_to(before.path))


def checkpoints(before: RunFolder, after: RunFolder, pattern: ArtefactPattern, step: int) -> None:
    """Links the checkpoints up to a step, so that the new run delivers all checkpoints of the training.

    Raises:
        OSError: a file cannot be written.
        RunError: a checkpoint contains a link.
    """
    for path, match in artefacts.matching(before.output, pattern):
        if "step" in match.groupdict() and int(match["step"]) <= step:
            for file in _files(path) if path.is_dir() else [path]:
                target = after.output / file.relative_to(before.output)
                if not target.exists():
                    _link(places.real(file), target)


def state(found: Path, before: RunFolder, after: RunFolder, pattern: StatePattern, step: int) -> Path:
    """The folder of a state in the new run's output: links to its files, under the name that the engine looks for.

    Raises:
        OSError: a file cannot be written.
        RunError: the state contains a link.
    """
    target = after.output / pattern.named.format(step=step)
    texts = {file for wanted in pattern.texts for file in found.glob(wanted)}
    for file in _files(found):
        copy = target / file.relative_to(found)
        if file in texts:
            copy.parent.mkdir(parents=True, exist_ok=True)
            text = file.read_text(encoding="utf-8", errors="surrogateescape")
            moved = text.replace(str(before.path), str(after.path))
            copy.write_text(moved, encoding="utf-8", errors="surrogateescape")
        else:
            _link(file, copy)
    return target


def record(
    found: SavedState, state: Path, before: RunFolder, after: RunFolder, pattern: StatePattern, *, is_as_saved: bool
) -> None:
    """Records the folder `state` with which a new run begins: a saved state that is as it was recorded, or that the user trusts.

    The supervisor would do that a few seconds later: too late for a run that is stopped, or whose machine is gone, before.

    Raises:
        OSError: a file cannot be read, or the record cannot be written.
    """
    if not pattern.keep:
        return
    known = states.records(before).get(found.path.name) if is_as_saved else None
    rewritten = {file.relative_to(state).as_posix() for wanted in pattern.texts for file in state.glob(wanted)}
    same = {name: value for name, value in known.files.items() if name not in rewritten} if known else {}
    own = states.record_of(state, found.step, same)
    # Without the key there are no records; the run can do without them.
    with contextlib.suppress(SealError):
        states.write_records(after, {own.name: own})


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise RunError(f"{path.name} in the state is a link, and links are not followed.")
        if path.is_file():
            yield path


def _given(image: Path) -> str:
    """The image that a staged one stands for; the staged one has a number before its name."""
    return str(image.readlink()) if image.is_symlink() else image.name


def _images(folder: RunFolder, manifest: BackendManifest) -> list[Path]:
    beside = sorted((*folder.path.glob("*_validation"), *folder.path.glob("*_controls_[123]")))
    return [image for staged in (*folder.staged, *beside) for image in _images_in(staged, manifest)]


def _images_in(folder: Path, manifest: BackendManifest) -> list[Path]:
    endings = manifest.dataset.extensions
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if path.suffix.lower() in endings)


def _link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file system has none. The files of a run are never written again once they are whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.samefile(source):
        # A checkpoint that is a file of a state was linked with the checkpoints.
        return
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copyfile(source, target)
