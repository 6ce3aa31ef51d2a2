"""The captions that are being typed, and how each is saved: as an edit of its own, and never over what it was not based on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trainer_core.errors import DatasetError
from trainer_ui.boundary import attempt

if TYPE_CHECKING:
    from trainer_core.curation.catalogue import Entry


class Captioned(Protocol):
    """The dataset whose captions are typed."""

    root: Path | None
    extension: str

    def entry(self, path: str) -> Entry | None:
        """The image with this path."""
        ...

    def put(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Changes what is known of images at once."""
        ...

    def look(self) -> None:
        """Reads the dataset again."""
        ...

    def note(self, sentence: str) -> None:
        """Says something to the user."""
        ...


class Drafts:
    """Captions that are being typed and were not saved yet."""

    def __init__(self, session: Captioned) -> None:
        self._session = session
        self._texts: dict[str, tuple[str, str]] = {}
        """The text, and what its file had when it was begun, by the path of the image."""

    def keep(self, path: str, text: str, base: str) -> None:
        """Keeps what is being typed: the page may be closed before the field is left."""
        if text != base:
            self._texts[path] = text, base

    def text(self, path: str, otherwise: str) -> str:
        """What is being typed for an image, or else this."""
        return self._texts.get(path, (otherwise, ""))[0]

    def save(self, path: str, text: str, base: str) -> None:
        """Writes the caption of one image, as an edit of its own; an equal one is not written.

        Raises:
            DatasetError: the file has something else than `base` now, so that writing would lose it; the text stays a draft.
        """
        from trainer_core.curation import captions
        from trainer_core.curation.journal import Journal

        session = self._session
        entry = session.entry(path)
        if session.root is None or entry is None:
            return
        place = entry.caption_path or captions.place_of(path, session.extension)
        change = captions.written(session.root, place, text)
        now = captions.text_of(session.root, place)
        if change is not None and now is not None and captions.plain(now) != base:
            self._texts[path] = text, base
            raise DatasetError(
                f"The caption of {path} was changed meanwhile, so yours was not saved over it.",
                "It is still in the field: change it once more to save it.",
            )
        self._texts.pop(path, None)
        if change is None:
            return
        edit = Journal(session.root).apply("caption", f"Caption of {path}", [change])
        if edit is not None and edit.refused:
            raise DatasetError(f"The caption was not saved: {edit.refused[0][1]}.", "Look at it again, then change it.")
        session.put({path: {"caption": " ".join(text.split("\n")), "caption_path": place, "author": "user"}})
        session.look()

    def save_all(self) -> None:
        """Saves what was typed, such as before another dataset is opened."""
        for path, (text, base) in list(self._texts.items()):
            attempt(partial(self.save, path, text, base), self._session.note)
