"""Measures the images of a dataset: each file is decoded once, for damage, fingerprint and quality, and what was seen is kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from trainer_core.curation import gathering, look_store, looks
from trainer_core.curation.look_store import Stamp
from trainer_core.curation.looks import Look
from trainer_core.datasets import images
from trainer_core.datasets.images import ImageInfo

AT_ONCE = 200
"""After so many images, what was seen is kept: a check that is interrupted goes on from there."""


def measured(
    root: Path,
    paths: Iterable[str] | None = None,
    went_on: Callable[[int, int], None] = lambda _, __: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Look]:
    """What is seen of the images of a dataset, by path; all of them, or these. Only files that have changed are decoded.

    `went_on` is told how many are done, and of how many. When it `is_cancelled`, the rest is left out.

    Raises:
        DatasetError: the folder cannot be listed.
    """
    stamps = _stamps(root, gathering.images(root) if paths is None else paths)
    found = look_store.get(stamps)
    left = [path for path in stamps if path not in found]
    done, total = len(found), len(stamps)
    went_on(done, total)
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for part in _parts(left):
            if is_cancelled():
                break
            seen = []
            for path, look in zip(part, pool.map(looks.look, map(Path, part)), strict=True):
                seen.append((path, stamps[path], look))
                done += 1
                went_on(done, total)
            look_store.put(seen)
            found.update((path, look) for path, _, look in seen)
    if paths is None and not is_cancelled():
        look_store.forget(os.path.realpath(root), stamps)
    start = _start(root)
    return {path[len(start) :]: found[path] for path in stamps if path in found}


def stored(root: Path, paths: Iterable[str] | None = None) -> dict[str, Look]:
    """What is kept of the images of a dataset, by path; one that was not measured, or has changed since then, is left out.

    Raises:
        DatasetError: the folder cannot be listed.
    """
    stamps = _stamps(root, gathering.images(root) if paths is None else paths)
    start = _start(root)
    return {path[len(start) :]: look for path, look in look_store.get(stamps).items()}


def of(found: Mapping[str, Look]) -> dict[str, Mapping[str, float]]:
    """The scores of each image that has some, as a catalogue takes them."""
    return {path: look.scores for path, look in found.items() if look.scores}


def inspector(root: Path, found: Mapping[str, Look]) -> Callable[[Path, bool], ImageInfo]:
    """How a scan reads image files of which this is known: without decoding them again."""
    # In the form in which the scan names them, not the one in which they are kept.
    known = {os.fspath(Path(root) / path): look.info for path, look in found.items()}

    def inspect(path: Path, quick: bool) -> ImageInfo:
        seen = known.get(os.fspath(path))
        return seen if seen is not None else images.inspect(path, quick)

    return inspect


def _start(root: Path) -> str:
    return f"{os.path.realpath(root).rstrip('/')}/"


def _stamps(root: Path, paths: Iterable[str]) -> dict[str, Stamp]:
    """The stamps of the files that are there, by absolute path."""
    start = _start(root)
    found = ((f"{start}{path}", look_store.stamp(f"{start}{path}")) for path in paths)
    return {path: stamp for path, stamp in found if stamp is not None}


def _parts(paths: Iterable[str]) -> Iterator[list[str]]:
    waiting = iter(paths)
    while part := list(islice(waiting, AT_ONCE)):
        yield part
