"""Who wrote each caption of a dataset: the user, or a program or model, as the edits of the dataset record it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from trainer_core.curation import contents, gathering, records
from trainer_core.curation.contents import OWN
from trainer_core.errors import DatasetError

USER = "user"
UNKNOWN = ""


def of(root: Path) -> Mapping[str, str]:
    """The author of each caption file that an edit has written, by its path in the dataset: "user", or a program or model.

    A file that was changed outside of Easel since then is the user's. A file that no edit has written is not there: whoever
    has written it is not known.
    """
    return _of(root, imported=USER, outside=USER)


def counted(root: Path, ending: str = ".txt") -> dict[str, int]:
    """How many captions each author wrote: "user", a program or model, or UNKNOWN.

    Whoever wrote a caption that came in, or was changed outside of Easel, is not known: it need not be the user.

    Raises:
        DatasetError: the folder cannot be listed.
    """
    by = _of(root, imported=UNKNOWN, outside=UNKNOWN)
    found: Counter[str] = Counter()
    for item in gathering.caption_files(root, ending):
        if (root / item.path).is_file():
            found[by.get(item.path, UNKNOWN)] += 1
    return dict(found)


def _of(root: Path, *, imported: str, outside: str) -> dict[str, str]:
    """The author of each caption file; `imported` wrote what the user brought in, `outside` what another program changed."""
    wrote: dict[str, dict[contents.Mark, str]] = {}
    for folder in _folders(root):
        edit = records.edit(folder)
        # An undo writes nothing new: its marks are known from the edits before it.
        if edit is None or edit.undoes is not None:
            continue
        refused = {path for path, _ in edit.refused}
        for row in records.rows(folder):
            if row.path not in refused:
                # What was there before the first edit is of an unknown author; later, somebody has changed the file outside.
                marks = wrote.setdefault(row.path, {row.before: ""})
                marks.setdefault(row.before, outside)
                marks[row.after] = imported if edit.name == "import" and edit.author == USER else edit.author
    return {path: author for path, marks in wrote.items() if (author := _author(root, path, marks, outside))}


def _author(root: Path, path: str, marks: Mapping[contents.Mark, str], outside: str) -> str:
    """The author of what a path has now; "" if there is no file, or it is as it was before the first edit."""
    try:
        now = contents.mark(contents.inside(root, path))
    except (OSError, DatasetError):
        return ""
    return "" if now == contents.NOTHING else marks.get(now, outside)


def _folders(root: Path) -> list[Path]:
    """The folders of the edits, the oldest first; links are not followed."""
    edits = root / OWN / "edits"
    if (root / OWN).is_symlink() or edits.is_symlink():
        return []
    try:
        found = [one for one in edits.iterdir() if one.name.isdecimal() and one.is_dir() and not one.is_symlink()]
    except OSError:
        return []
    return sorted(found, key=lambda one: int(one.name))
