"""Groups of images that are the same, or copies of each other, with the one of each group that is worth keeping."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from trainer_core import places
from trainer_core.curation import contents, fingerprints, gathering, quality, scores, taking_out
from trainer_core.curation.fingerprints import Fingerprint
from trainer_core.curation.journal import Change
from trainer_core.curation.looks import Look
from trainer_core.datasets.images import ImageInfo
from trainer_core.errors import DatasetError

NEAR_BITS = 48
"""Hashes that differ by so many bits at most are compared further."""
SAME, EDITED = 0.2, 0.6
"""Differences of the small images up to which two are the same image, and an edited copy. More is a variation, which stays."""
AT_ONCE = 512
"""So many hashes are compared with all others at once."""

Kind = Literal["exact", "same", "edited"]
KINDS: Mapping[Kind, str] = {
    "exact": "the same file",
    "same": "the same image, saved differently",
    "edited": "an edited copy",
}


@dataclass(frozen=True)
class Member:
    """An image of a group, by its path in the dataset; `kind` is what it is to the best one, `is_mirrored` that it is turned around."""

    path: str
    width: int
    height: int
    size_bytes: int
    has_caption: bool
    kind: Kind = "exact"
    is_mirrored: bool = False
    is_blocky: bool = False
    """Whether blocks of strong compression are visible in it."""


@dataclass(frozen=True)
class Group:
    """Images that are copies of `best`: the one with the most pixels, then without JPEG blocks, then with a caption, then the largest file."""

    best: Member
    others: tuple[Member, ...]


def groups(
    root: Path,
    ending: str = ".txt",
    went_on: Callable[[int, int], None] = lambda _, __: None,
    seen: Mapping[str, Look] | None = None,
) -> list[Group]:
    """The groups of copies among the images of a dataset, the largest first. Nothing is changed.

    Images that cannot be read are in no group, except with files of the same bytes. `seen` is what was measured of the
    images already; without it, they are measured now.

    Raises:
        DatasetError: the folder cannot be listed.
    """
    paths = gathering.images(root)
    found_in = scores.measured(root, paths, went_on) if seen is None else seen
    marks = _marks(root, paths)
    prints = {path: look.fingerprint for path, look in found_in.items() if look.fingerprint is not None}
    links = [*_exact(marks), *_near(prints)]
    members = {path: _member(root, path, found_in.get(path), ending) for path in paths}
    found = [_group([members[path] for path in linked], links) for linked in _joined(links)]
    return sorted(found, key=lambda group: (-len(group.others), group.best.path))


def moved_out(root: Path, unwanted: Iterable[Member], ending: str = ".txt") -> list[Change]:
    """The changes that take images out of a dataset, with those captions that no image which stays has, too."""
    return taking_out.changes(root, [one.path for one in unwanted], ending)


def better(found: Iterable[Group]) -> dict[str, str]:
    """The better copy of each image that is a copy, as a catalogue takes them."""
    return {one.path: group.best.path for group in found for one in group.others}


@dataclass(frozen=True)
class _Link:
    one: str
    other: str
    kind: Kind
    is_mirrored: bool = False


def _marks(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """The hashes of files whose size another file has, too."""
    by_size = defaultdict(list)
    for path in paths:
        if (root / path).is_file():
            by_size[(root / path).stat().st_size].append(path)
    found = {}
    for same in by_size.values():
        if len(same) > 1:
            for path in same:
                try:
                    found[path] = contents.mark(places.real(root / path))
                except (OSError, DatasetError):
                    continue
    return found


def _exact(marks: Mapping[str, str]) -> Iterator[_Link]:
    by_mark: dict[str, str] = {}
    for path, mark in marks.items():
        first = by_mark.setdefault(mark, path)
        if first != path:
            yield _Link(first, path, "exact")


def _near(prints: Mapping[str, Fingerprint]) -> Iterator[_Link]:
    """Pairs whose hashes are near, or near if one is mirrored, and whose small images agree."""
    import numpy as np

    paths = list(prints)
    if len(paths) < 2:
        return
    hashes, mirrored = (
        np.frombuffer(b"".join(getattr(prints[path], name) for path in paths), np.uint64).reshape(len(paths), -1)
        for name in ("hash", "mirrored")
    )
    for start in range(0, len(paths), AT_ONCE):
        part = hashes[start : start + AT_ONCE, None, :]
        for is_mirrored, others in ((False, hashes), (True, mirrored)):
            distances = np.bitwise_count(part ^ others[None, :, :]).sum(axis=2, dtype=np.uint16)
            for row, column in np.argwhere(distances <= NEAR_BITS):
                one, other = start + int(row), int(column)
                if one < other and (link := _link(prints, paths[one], paths[other], is_mirrored=is_mirrored)):
                    yield link


def _link(prints: Mapping[str, Fingerprint], one: str, other: str, *, is_mirrored: bool) -> _Link | None:
    first, second = prints[one], prints[other]
    wide, other_wide = first.width / first.height, second.width / second.height
    found = fingerprints.difference(first, second, mirrored=is_mirrored)
    if found > EDITED:
        return None
    # Of another shape it was stretched or cropped.
    is_same = found <= SAME and max(wide, other_wide) <= 1.02 * min(wide, other_wide) and not is_mirrored
    return _Link(one, other, "same" if is_same else "edited", is_mirrored)


def _joined(links: Iterable[_Link]) -> list[list[str]]:
    """The paths that are connected, directly or through others."""
    heads: dict[str, str] = {}

    def head(path: str) -> str:
        heads.setdefault(path, path)
        while heads[path] != path:
            heads[path] = heads[heads[path]]
            path = heads[path]
        return path

    for link in links:
        heads[head(link.other)] = head(link.one)
    found = defaultdict(list)
    for path in heads:
        found[head(path)].append(path)
    return list(found.values())


def _member(root: Path, path: str, seen: Look | None, ending: str) -> Member:
    place = root / path
    size = place.stat().st_size if place.is_file() else 0
    has_caption = any(
        one.is_file() and one.stat().st_size for one in (place.with_suffix(ending), Path(f"{place}{ending}"))
    )
    info = seen.info if seen else ImageInfo()
    is_blocky = seen is not None and quality.state("blocky", seen.scores) == "found"
    return Member(path, info.width, info.height, size, has_caption, is_blocky=is_blocky)


def _group(members: list[Member], links: Sequence[_Link]) -> Group:
    best = min(
        members,
        key=lambda one: (-one.width * one.height, one.is_blocky, not one.has_caption, -one.size_bytes, one.path),
    )
    to_best: dict[str, _Link] = {}
    for link in links:
        if best.path in (link.one, link.other):
            to_best.setdefault(link.other if link.one == best.path else link.one, link)
    others = []
    for one in members:
        if one is not best:
            link = to_best.get(one.path)
            kind, is_mirrored = (link.kind, link.is_mirrored) if link is not None else ("edited", False)
            others.append(replace(one, kind=kind, is_mirrored=is_mirrored))
    return Group(best, tuple(sorted(others, key=lambda one: (list(KINDS).index(one.kind), one.path))))
